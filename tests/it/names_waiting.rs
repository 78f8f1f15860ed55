//! No worker, no probe and no reload waits for the DNS while a name server does not answer.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::names::{ROUTE, SOON, becomes, chosen, first, is_from_list, looking_up};
use crate::pace::{assert_on_time, probing};
use crate::support::{Agent, Dns, Kamailio, Probed, Stalls, TYPE, Trouble, eventually, net};

/// The server waits so long for the DNS: that a worker waited would show, on a slow machine too.
const DNS_TIMEOUT: &str = "dns_retr_time=6";
const AT_ONCE: Duration = Duration::from_secs(3);

#[track_caller]
fn at_once<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = act();
    assert!(begun.elapsed() < AT_ONCE, "{what} took {:?}", begun.elapsed());
    done
}

#[track_caller]
fn reload_in_a_worker(agent: &mut Agent) {
    let mut call = agent.call();
    agent.send(&call.within("NOTIFY"));
    assert_eq!(agent.answer(&call, "NOTIFY").status(), Some(200));
}

/// Waits until the server has asked for a name that gets no answer, so that its resolver process is blocked.
#[track_caller]
fn hangs(dns: &Dns, name: &str) {
    dns.wait_for(name, TYPE::A, 1, SOON);
}

#[test]
fn while_names_hang_the_others_are_probed_on_time() {
    const MANY: usize = 30;
    for trouble in [Trouble::Timeout, Trouble::Delay(Duration::from_secs(3))] {
        let dns = Dns::start();
        let (by_address, by_name) = (Probed::start(), Probed::start());
        let names: Vec<String> = (0..MANY).map(|n| format!("gw{n}.test")).collect();
        names.iter().for_each(|name| dns.a(name, 0, &[by_name.ip()]));
        let port = by_name.local().port();
        let named = names.iter().map(|name| format!("1 sip:{name}:{port}\n")).collect::<String>();
        let list = by_address.list(2, MANY, "") + &named;
        let builder = probing(&list, 2).modparam(r#"modparam("dispatcher", "ds_dns_mode", 4)"#);
        let server = builder.route(ROUTE).globals(DNS_TIMEOUT).dns(&dns).start();
        for gateways in [&by_address, &by_name] {
            gateways.wait_for(MANY, SOON);
        }

        let hanging: Vec<String> = (0..5).map(|n| format!("hang{n}.test")).collect();
        for name in &hanging {
            dns.a(name, 0, &[net::address()]);
            dns.trouble(name, trouble);
        }
        let more = hanging.iter().map(|name| format!("3 sip:{name}:5060\n")).collect::<String>();
        server.write_list(&(list + &more));
        at_once("a reload with new names", || server.rpc("dispatcher.reload", json!([])).unwrap());
        let hung = || hanging.iter().filter(|name| dns.queries(name, TYPE::A) > 0).count();
        eventually("somebody waits", SOON, || hung() > 0);
        by_address.forget();
        by_name.forget();
        let stalls = Stalls::watch();
        by_address.wait_for(MANY * 7, SOON * 2);
        assert!(
            hanging.iter().filter(|name| dns.queries(name, TYPE::A) > 0).count() >= 2,
            "more than one hung"
        );
        for gateways in [&by_address, &by_name] {
            assert_on_time(gateways, MANY, Duration::from_secs(2), &stalls);
        }
        let up = |server: &Kamailio| server.list().iter().filter(|one| one.flags == "AP").count();
        assert!(up(&server) >= MANY * 2, "{:?}", server.list());
        server.stop();
    }
}

#[test]
fn no_worker_waits_for_a_name_not_even_the_one_that_reloads() {
    let dns = Dns::start();
    let address = net::address();
    dns.a("gw.test", 0, &[address]);
    let list = "1 sip:gw.test:5070\n";
    let builder = looking_up(list, 4, &dns).workers(1).globals(DNS_TIMEOUT);
    let mut server = builder.start();
    let mut agent = server.agent();
    for round in 0..3 {
        let name = format!("hang{round}.test");
        dns.trouble(&name, Trouble::Timeout);
        server.write_list(&format!("{list}2 sip:{name}\n"));
        at_once("a reload in a script", || reload_in_a_worker(&mut agent));
        hangs(&dns, &name);
        let own = format!("sip:{address}");
        assert!(at_once("a question for the list", || is_from_list(&mut agent, &own)));
        assert_eq!(at_once("a call", || chosen(&mut agent)).as_deref(), Some("sip:gw.test:5070"));
        at_once("the list of destinations", || server.list());
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn reload_keeps_the_addresses_of_names_that_serve_and_asks_nobody() {
    let dns = Dns::start();
    let (address, new) = (net::address(), net::address());
    dns.a("gw.test", 0, &[address]);
    dns.a("new.test", 0, &[new]);
    let server = looking_up("1 sip:gw.test duid=a\n", 4, &dns).globals(DNS_TIMEOUT).start();
    let mut agent = server.agent();
    let own = format!("sip:{address}");
    dns.trouble("gw.test", Trouble::Timeout);
    dns.forget_queries();
    hangs(&dns, "gw.test");
    for variant in 0..4 {
        server.write_list(&format!("1 sip:gw.test 0 0 duid=a;v={variant}\n"));
        at_once("a reload", || server.rpc("dispatcher.reload", json!([])).unwrap());
        let dest = first(&server);
        assert_eq!(dest["ATTRS"]["BODY"], format!("duid=a;v={variant}"));
        assert_eq!((&dest["FLAGS"], &dest["IPADDR"]), (&json!("AX"), &json!(address.to_string())), "{dest}");
        assert!(is_from_list(&mut agent, &own));
    }
    dns.no_trouble("gw.test");
    server.write_list("1 sip:gw.test 0 0 duid=a\n1 sip:new.test 0 0 duid=b\n");
    server.rpc("dispatcher.reload", json!([])).unwrap();
    eventually("a new name is looked up by itself", SOON, || {
        is_from_list(&mut agent, &format!("sip:{new}")) && is_from_list(&mut agent, &own)
    });
    becomes(&server, "AX");
    server.stop();
}
