//! Calls a second that sets share (`capacity_cps`): what all gateways of a capacity get together is never above its limit in any second, in
//! whatever set they stand, and who asks what keeps a call out is told so.

use serde_json::{Value, json};

use crate::calls;
use crate::rates::{
    LIMITS, ONE_BY_ONE, OVER, Timed, ask, assert_others_refused, most_in_a_second, offer, route_to, start,
    when_over,
};
use crate::support::{Kamailio, net};

const CPS: usize = 50;
const BURST: usize = 10;
const SECONDS: usize = 3;
const SHARED: &str = "capacity=carrier;capacity_cps=50;capacity_cps_burst=10";

/// Each call goes to one of two sets, by its Call-ID.
const SETS: &str =
    "$var(set) = \"100\";\n\tif ($(ci{s.md5}{s.substr,0,1}) =~ \"[0-7]\") $var(set) = \"101\";";

/// The first two gateways are in one set, the others in the other one; all of them share the limit.
fn list(gateways: &Timed) -> String {
    let uris = gateways.sockets.iter().map(|socket| socket.local_addr().unwrap());
    let line = |(n, uri)| format!("{} sip:{uri} 0 0 duid=gw{n};weight=1;rweight=1;{SHARED}\n", 100 + n / 2);
    uris.enumerate().map(line).collect()
}

fn server(gateways: &Timed, algorithm: u32) -> Kamailio {
    start(list(gateways), &route_to(SETS, algorithm), algorithm)
}

/// All that the gateways got together.
fn assert_limit(gateways: &Timed, what: &str) -> usize {
    let arrivals = gateways.arrivals(0..4);
    let (most, way) = most_in_a_second(&arrivals);
    println!("{what}: {} INVITEs, {most} in a second less {} us", arrivals.len(), way / 1000);
    assert!(most <= CPS + BURST, "{what}: {most} in a second");
    let all = arrivals.len();
    assert!((CPS * SECONDS..=BURST + CPS * (SECONDS + 2)).contains(&all), "{what}: {all} in all");
    all
}

#[test]
fn two_sets_together_get_no_more_than_the_limit_that_they_share() {
    for algorithm in [4, 10] {
        let gateways = Timed::start(&[486; 4]);
        let server = server(&gateways, algorithm);
        let answers = offer(&server, SECONDS);
        let sent = assert_limit(&gateways, &format!("algorithm {algorithm}"));
        assert_others_refused(answers, sent, SECONDS, algorithm);
        calls::assert_no_drift(&server);
        server.stop();
    }
}

/// One gateway of each set fails, and what goes on to the other one takes another token.
#[test]
fn failover_takes_of_the_shared_limit_too() {
    let gateways = Timed::start(&[500, 486, 500, 486]);
    let server = server(&gateways, 10);
    let answers = offer(&server, SECONDS);
    let sent = assert_limit(&gateways, "failover");
    let (failed, busy) = (gateways.arrivals(0..1).len() + gateways.arrivals(2..3).len(), answers["486"]);
    assert!(failed > 0 && busy > 0 && failed + busy == sent, "{sent}: {answers:?}");
    calls::assert_no_drift(&server);
    server.stop();
}

fn capacity(server: &Kamailio) -> Value {
    server.rpc("dispatcher.capacity", json!(["carrier"])).unwrap()["CAPACITIES"][0]["CAPACITY"].clone()
}

#[test]
fn who_asks_is_told_which_limit_keeps_a_call_out() {
    let gateway = net::socket();
    let uri = format!("sip:{}", gateway.local_addr().unwrap());
    let list = format!(
        "100 {uri} 0 5 duid=a;capacity=carrier;capacity_cps=1\n200 {uri} 0 0 duid=b;capacity=carrier;capacity_max=9\n"
    );
    let params = format!("modparam(\"dispatcher\", \"flags\", 2)\n{LIMITS}");
    let server = Kamailio::builder().workers(4).list(&list).modparam(&params).route(ONE_BY_ONE).start();
    let mut agent = server.agent();
    for algorithm in [4, 10] {
        let one = when_over(&mut agent, algorithm, |_| {
            // The other set is out of the way by the same limit.
            let told = server.rpc("dispatcher.explain", json!([200, algorithm])).unwrap();
            let one = &told["TARGETS"][0]["DEST"];
            (told["REFUSED"] == "over the rate" && one["WHY"] == "capacity carrier over its rate")
                .then(|| one.clone())
        });
        let shared = &one["CAPACITY"];
        assert_eq!((&one["FLAGS"], &shared["CPS"], &shared["BURST"]), (&json!("AX"), &json!(1), &json!(1)));
        assert!(shared["OVER"].as_i64() > Some(0), "{one}");
    }
    let seen = capacity(&server);
    assert_eq!((&seen["LIMIT"], &seen["CPS"], &seen["BURST"]), (&json!(9), &json!(1), &json!(1)));
    assert!(seen["OVER"].as_i64() > Some(0), "{seen}");
    let listed = server.rpc("dispatcher.list", json!(["full", 200])).unwrap();
    let listed = &listed["RECORDS"][0]["SET"]["TARGETS"][0]["DEST"];
    assert_eq!((&listed["FLAGS"], &listed["CAPACITY"]["CPS"]), (&json!("AX"), &json!(1)));
    let stats = server.rpc("dispatcher.stats", json!([200])).unwrap();
    let stats = stats.as_array().map_or(&stats, |all| &all[0]);
    assert_eq!((&stats["CAPACITY"]["NAME"], &stats["CAPACITY"]["CPS"]), (&json!("carrier"), &json!(1)));
    // What one set's line says by a command counts at once for all.
    let update = |attrs: &str| server.rpc("dispatcher.update", json!([100, uri, -1, -1, attrs])).unwrap();
    when_over(&mut agent, 4, |_| Some(()));
    update("duid=a;capacity=carrier;capacity_cps=1;capacity_cps_burst=40");
    let got = (0..60).filter(|_| ask(&mut agent, "INVITE", (4, "")).0 != OVER).count();
    assert!((39..55).contains(&got), "{got}");
    update("duid=a;capacity=carrier");
    assert!((0..100).all(|_| ask(&mut agent, "INVITE", (4, "")).0.starts_with('1')));
    assert_eq!(capacity(&server)["CPS"], 0);
    let audit = server.rpc("dispatcher.load_audit", json!([])).unwrap();
    assert_eq!((&audit["DRIFT"], &audit["MISPLACED"]), (&json!(0), &json!(0)));
    server.stop();
}
