//! The status page shows limits, what is left of a drain, and refusals by cause, in a real browser.

use serde_json::json;

use crate::calls::obedient;
use crate::status_browser::{ROUTE, content, drawn, showing};
use crate::status_page::with_page;
use crate::support::Kamailio;

#[test]
fn limits_drains_and_causes_of_refusals_are_in_the_page() {
    let gateways = obedient(3);
    let attrs = |n: usize| match n {
        0 => "maxload=2;maxload_reserve=1;cps=1;cps_burst=30",
        1 => "maxload=1;capacity=carrier;capacity_max=9;capacity_reserve=10%;capacity_cps=40",
        _ => "maxload=1",
    };
    let line = |n: usize| format!("1 {} 0 0 duid=gw{n};{}\n", gateways.uri(n), attrs(n));
    let list: String = (0..3).map(line).collect::<String>() + "2 sip:127.0.1.1 0 0 duid=other\n";
    let builder = Kamailio::builder().list(list).route(ROUTE);
    let server = with_page(builder.modparam("modparam(\"dispatcher\", \"ds_limits\", 1)\n")).start();
    let mut agent = server.agent();
    for _ in 0..4 {
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200));
    }
    for _ in 0..3 {
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(404));
    }
    server.rpc("dispatcher.drain", json!([1, gateways.uri(2), 7000])).unwrap();
    let mut browser = showing(&server, 4);
    browser.wait_for("sets.get(1).refused.no_room === 3 && document.querySelector('#list .R') !== null");
    let rows = drawn(&mut browser);
    let of =
        |word: &str| rows.iter().find(|row| row.contains(word)).unwrap_or_else(|| panic!("{word}: {rows:?}"));
    assert!(of("▾ set | 1:").contains("refused 3 no room"), "{rows:?}");
    assert!(of("gw0 ").contains("2 / 2+1 |") && of("gw0 ").ends_with("| 1/s+30"), "{rows:?}");
    assert!(of("gw1 ").ends_with("| carrier 1 / 9, 40/s+8"), "{rows:?}");
    assert!(of("gw2 ").starts_with("draining") && of("gw2 ").contains("116 min left"), "{rows:?}");
    assert!(of("other ").ends_with("| "), "{rows:?}");
    assert!(browser.value("$('totals').textContent").as_str().unwrap().contains("Refused3"));
    // What keeps a capacity is found by its name, and told in full.
    browser.value("$('q').value = 'carrier'; $('q').oninput()");
    browser.wait_for("$('hits').textContent === '1 of 4'");
    browser.value("act(view[1])");
    browser.wait_for("$('more').textContent.includes('name carrier, calls 1, limit 9')");
    // Without further limits there is no column for them.
    let shown = "getComputedStyle($('head').children[7]).display !== 'none'";
    assert_eq!(browser.value(shown), json!(true));
    server.write_list("1 sip:127.0.1.1 0 0 duid=other\n");
    server.rpc("dispatcher.reload", json!([])).unwrap();
    browser.wait_for(&format!("!stale && !busy && !({shown})"));
    content(&browser);
    server.stop();
}
