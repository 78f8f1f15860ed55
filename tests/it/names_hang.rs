//! A name whose DNS server says nothing: nobody but the process for names waits.

use std::time::Duration;

use serde_json::{Value, json};

use crate::calls::reload_by_script;
use crate::names::{chosen, full, is_from, unprobed};
use crate::pace::assert_on_time;
use crate::support::{Dns, Kamailio, Probed, Stalls, TYPE, Trouble, eventually, net};

const SOON: Duration = Duration::from_secs(30);

/// The host waits this long for an answer of the DNS.
const PATIENT: &str = "dns_retr_time=5";

fn named<'a>(all: &'a [Value], host: &str) -> &'a Value {
    all.iter().find(|one| one["HOST"] == host).unwrap_or_else(|| panic!("no {host} in {all:?}"))
}

#[test]
fn others_are_probed_on_time_while_one_name_hangs() {
    const EACH: usize = 25;
    let interval = Duration::from_secs(2);
    let (dns, gateways) = (Dns::start(), Probed::start());
    let port = gateways.local().port();
    let by_name = (EACH..2 * EACH).map(|n| format!("1 sip:gw{n}@host{n}.test:{port}\n"));
    (EACH..2 * EACH).for_each(|n| dns.a(&format!("host{n}.test"), 0, &[gateways.ip()]));
    let list: String = by_name.chain([gateways.list(1, EACH, "")]).collect();
    dns.a("slow.test", 0, &[gateways.ip()]);
    let list = format!("{list}1 sip:slow@slow.test:{port}\n");
    let probing = "modparam(\"dispatcher\", \"ds_ping_interval\", 2)\n\
                   modparam(\"dispatcher\", \"ds_probing_mode\", 1)";
    let server = unprobed(&list, &dns, 4).modparam(probing).globals(PATIENT).start();
    gateways.wait_for(2 * EACH + 1, SOON);
    assert!(!gateways.probes_of("slow").is_empty());

    for trouble in [Trouble::Timeout, Trouble::Delay(Duration::from_secs(4))] {
        dns.trouble("slow.test", trouble);
        dns.forget_queries();
        dns.wait_for("slow.test", TYPE::A, 1, SOON);
        gateways.forget();
        let stalls = Stalls::watch();
        dns.wait_for("slow.test", TYPE::A, 3, SOON);
        eventually("two probes each", SOON, || gateways.count("OPTIONS") >= 5 * EACH);
        let slow = gateways.probes_of("slow").len();
        assert_on_time(&gateways, 2 * EACH + usize::from(slow > 0), interval, &stalls);
    }
    let all = full(&server);
    assert!(all.iter().filter(|one| one["HOST"] != "slow.test").all(|one| one["FLAGS"] == "AP"), "{all:?}");
    server.stop();
}

/// One worker for everything. Each answer comes while the DNS still owes its first: nobody knows the name yet, and nobody
/// has asked for it twice.
#[test]
fn only_worker_reloads_and_answers_while_a_new_name_hangs() {
    let (dns, address) = (Dns::start(), net::address());
    let known = format!("1 sip:{address}:5070\n");
    let delta = r#"modparam("dispatcher", "reload_delta", 0)"#;
    let mut server = unprobed(&known, &dns, 4).modparam(delta).globals(PATIENT).workers(1).start();
    let mut agent = server.agent();
    let still_hangs = |server: &Kamailio, name: &str| {
        named(&full(server), name)["DNSTIME_SEC"] == 0 && dns.queries(name, TYPE::A) == 1
    };
    let troubles = [("silent.test", Trouble::Timeout), ("late.test", Trouble::Delay(Duration::from_secs(4)))];
    for (name, trouble) in troubles {
        dns.a(name, 0, &[net::address()]);
        dns.trouble(name, trouble);
        server.write_list(&format!("{known}2 sip:{name}:5070\n"));
        assert_eq!(reload_by_script(&mut agent), 200);
        dns.wait_for(name, TYPE::A, 1, SOON);
        assert_eq!(chosen(&mut agent), format!("sip:{address}:5070"));
        assert!(is_from(&mut agent, &format!("sip:{address}:5070")));
        assert!(agent.options_answered(SOON));
        assert_eq!(reload_by_script(&mut agent), 200);
        server.rpc("dispatcher.reload", json!([])).unwrap();
        assert!(still_hangs(&server, name), "{name}: {:?}", full(&server));
    }
    eventually("the late answer counts", SOON, || named(&full(&server), "late.test")["IPADDR"] != "");
    server.assert_healthy();
    server.stop();
}
