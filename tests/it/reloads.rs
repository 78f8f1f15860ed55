//! A reload loses no count, and a bad file loses nothing at all.

use serde_json::json;

use crate::calls::{
    self, NO_FAILOVER, all_over, assert_no_drift, assert_quiet, at_one_and_eight_workers, fill, hang_up_all,
    loads, obedient, reload_by_script, up,
};
use crate::support::server_config::Builder;
use crate::support::{Call, Gateways, Kamailio};

at_one_and_eight_workers! {
    a_thousand_calls_survive_every_way_to_reload,
    lowered_limit_stops_new_calls_and_keeps_the_old,
    unreadable_file_leaves_the_old_sets_serving,
    bad_lines_are_named_and_the_others_load,
    file_without_one_right_line_is_refused,
    state_set_by_rpc_survives_a_reload,
}

fn builder(gateways: &Gateways, workers: u32, attrs: &str) -> Builder {
    let any_time = r#"modparam("dispatcher", "reload_delta", 0)"#;
    calls::relaying(workers, gateways.list(100, attrs), NO_FAILOVER).modparam(any_time)
}

#[track_caller]
fn reload(server: &Kamailio) -> String {
    let answer = server.rpc("dispatcher.reload", json!([])).unwrap_or_else(|e| panic!("{e:?}"));
    answer.as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn reload_refused(server: &Kamailio) -> String {
    server.rpc("dispatcher.reload", json!([])).expect_err("the reload is refused").message
}

pub fn a_thousand_calls_survive_every_way_to_reload(workers: u32) {
    let gateways = obedient(3);
    let server = builder(&gateways, workers, "maxload=500").start();
    let mut agent = server.agent();
    let mut held: Vec<Call> = (0..1000).map(|_| up(&mut agent)).collect();
    let before = loads(&server, 3);
    assert_eq!(before.iter().sum::<i64>(), 1000);

    assert_eq!(reload_by_script(&mut agent), 200);
    assert_eq!(loads(&server, 3), before);
    reload(&server);
    assert_eq!(loads(&server, 3), before);
    let [a, b, c] = [0, 1, 2].map(|n| gateways.uri(n));
    for changed in [
        format!("100 {c} 0 0 maxload=400;duid=gw2\n100 {a} 0 0 duid=gw0\n100 {b} 0 0 duid=gw1;weight=5\n"),
        format!(
            "7 {a} 0 0 duid=x\n100 {b} 0 9 duid=GW1\n100 {c} 8 50 duid=gw2;note=new\n100 {a} 0 1 duid=gw0\n"
        ),
    ] {
        server.write_list(&changed);
        reload(&server);
        let by_name = |name: &str| {
            let list = server.list();
            list.iter().find(|d| d.set == 100 && d.duid.eq_ignore_ascii_case(name)).unwrap().load.unwrap()
        };
        assert_eq!(["gw0", "gw1", "gw2"].map(by_name).as_slice(), before);
        assert_eq!(assert_no_drift(&server).confirmed, 1000);
    }
    hang_up_all(&mut agent, &mut held);
    all_over(server);
}

fn lowered_limit_stops_new_calls_and_keeps_the_old(workers: u32) {
    let gateways = obedient(2);
    let server = builder(&gateways, workers, "maxload=9").start();
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &gateways, &[5, 5]);
    server.write_list(&gateways.list(100, "maxload=4"));
    reload(&server);
    assert_eq!(loads(&server, 2), [5, 5]);
    let mut refused = agent.call();
    assert_eq!(agent.place(&mut refused).status(), Some(404));
    hang_up_all(&mut agent, held[0].drain(..2).collect::<Vec<_>>().iter_mut());
    held[0].push(up(&mut agent));
    assert_eq!(loads(&server, 2), [4, 5]);
    hang_up_all(&mut agent, held.iter_mut().flatten());
    all_over(server);
}

fn unreadable_file_leaves_the_old_sets_serving(workers: u32) {
    let gateways = obedient(2);
    let server = builder(&gateways, workers, "maxload=9").start();
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &gateways, &[2, 2]);
    let file = server.list_file();
    std::fs::remove_file(&file).unwrap();
    let names_it = |message: &str| message.contains(file.to_str().unwrap());
    assert!(names_it(&reload_refused(&server)));
    assert_eq!(reload_by_script(&mut agent), 500);
    std::fs::create_dir(&file).unwrap();
    assert!(names_it(&reload_refused(&server)));
    assert_eq!(server.log_lines("ERROR: dispatcher").iter().filter(|line| names_it(line)).count(), 3);
    assert_eq!(loads(&server, 2), [2, 2]);
    held[0].push(up(&mut agent));
    hang_up_all(&mut agent, held.iter_mut().flatten());
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

fn bad_lines_are_named_and_the_others_load(workers: u32) {
    let gateways = obedient(2);
    let good = gateways.list(100, "maxload=9");
    let bad =
        "x100 sip:127.0.0.9:5060\n\n100 sip:127.0.0.9:5060 0 0 duid=n;obproxy=sip:p>\n100  # nothing more\n";
    let places = ["3:1: ", "5:35: ", "6:6: "];
    let server = builder(&gateways, workers, "maxload=9").list(format!("{good}{bad}")).start();
    let file = server.list_file().display().to_string();
    let logged = |times| {
        for place in places {
            let line = format!("{file}:{place}");
            assert_eq!(server.log_lines(&line).len(), times, "{line} in {}", server.log());
        }
    };
    logged(1);
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &gateways, &[1, 1]);
    let answer = reload(&server);
    logged(2);
    for place in places {
        assert!(answer.contains(&format!("{file}:{place}")), "{place} in {answer}");
    }
    assert_eq!(server.list().len(), 2);
    assert_eq!(loads(&server, 2), [1, 1]);
    hang_up_all(&mut agent, held.iter_mut().flatten());
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

fn file_without_one_right_line_is_refused(workers: u32) {
    let gateways = obedient(2);
    let server = builder(&gateways, workers, "maxload=9").start();
    let mut agent = server.agent();
    let mut held = fill(&mut agent, &gateways, &[1, 2]);
    server.write_list("this is\nno list\n");
    let message = reload_refused(&server);
    assert!(message.contains(&format!("{}:1:1: ", server.list_file().display())), "{message}");
    assert_eq!(loads(&server, 2), [1, 2]);
    held[0].push(up(&mut agent));
    hang_up_all(&mut agent, held.iter_mut().flatten());
    assert_eq!(assert_no_drift(&server).calls, 0);
    server.stop();
}

fn state_set_by_rpc_survives_a_reload(workers: u32) {
    let gateways = obedient(2);
    let server = builder(&gateways, workers, "maxload=9").start();
    let mut agent = server.agent();
    let flags = || server.list().iter().find(|d| d.duid == "gw0").map(|d| d.flags.clone()).unwrap();
    server.rpc("dispatcher.set_state", json!(["ip", 100, gateways.uri(0)])).unwrap();
    reload(&server);
    assert_eq!(flags(), "IP");
    server.write_list(&gateways.list(100, "maxload=8"));
    assert_eq!(reload_by_script(&mut agent), 200);
    assert_eq!(flags(), "IP");
    let mut held: Vec<Call> = (0..4).map(|_| up(&mut agent)).collect();
    assert_eq!(loads(&server, 2), [0, 4]);
    hang_up_all(&mut agent, &mut held);
    assert_eq!(assert_no_drift(&server).calls, 0);
    assert_quiet(&server.stop());
}
