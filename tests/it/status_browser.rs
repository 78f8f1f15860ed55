//! The status page in a real browser.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::calls::obedient;
use crate::status_page::with_page;
use crate::support::browser::Browser;
use crate::support::{Behaviour, Kamailio, Probed};
use crate::watch::{becomes, probing};

pub const ROUTE: &str = r#"
request_route {
    if (is_method("ACK")) { t_relay(); exit; }
    if (!ds_select_dst("1", "10")) { sl_send_reply("404", "No destination"); exit; }
    t_relay();
}
onreply_route { if (status =~ "2[0-9][0-9]") ds_load_update(); }
"#;

fn address(server: &Kamailio) -> String {
    format!("http://{}/status", server.address())
}

/// A browser that shows the page of this server, with so many destinations.
#[track_caller]
pub fn showing(server: &Kamailio, destinations: usize) -> Browser {
    let mut browser = Browser::start(1280, 800);
    browser.open(&address(server));
    browser.wait_for(&format!(
        "document.title === 'Dispatcher' && typeof view === 'object' && !busy && now > 0 \
         && [...sets.values()].reduce((n, s) => n + s.rows.length, 0) === {destinations}"
    ));
    browser
}

/// Until the page has asked anew, from begin to end.
#[track_caller]
fn refreshed(browser: &mut Browser) {
    for _ in 0..2 {
        let before = browser.value("now");
        browser.wait_for(&format!("!busy && now > {before}"));
    }
}

/// The texts of the rows that are drawn, in their order on the screen.
#[track_caller]
pub fn drawn(browser: &mut Browser) -> Vec<String> {
    let rows = browser.value(
        "[...document.querySelectorAll('#list .row')].filter(e => !e.hidden)\
         .sort((a, b) => a.getAttribute('aria-rowindex') - b.getAttribute('aria-rowindex'))\
         .map(e => [...e.children].map(c => c.textContent).join(' | '))",
    );
    rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap().to_owned()).collect()
}

/// Nothing that the page did was forbidden, and nothing failed in it.
#[track_caller]
pub fn content(browser: &Browser) {
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

#[test]
fn states_and_loads_change_in_the_page_without_a_reload() {
    let gateways = obedient(3);
    let server = with_page(Kamailio::builder().list(gateways.list(1, "maxload=4")).route(ROUTE)).start();
    let mut browser = showing(&server, 3);
    browser.value("window.mark = 'the same page'");
    let rows = drawn(&mut browser);
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows[0].starts_with("▾ set | 1: 3 of 3 up | 0 / 12 | 0/s"), "{rows:?}");
    assert!(rows[1].starts_with("active | gw"), "{rows:?}");

    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..6).map(|_| agent.call()).collect();
    for call in &mut calls {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    server.rpc("dispatcher.set_state", json!(["d", 1, gateways.uri(1)])).unwrap();
    browser.wait_for("document.querySelector('#list .D') !== null && sets.get(1).l === 6");
    let rows = drawn(&mut browser);
    assert!(rows[0].contains("1: 2 of 3 up | 6 / 12"), "{rows:?}");
    let row = rows.iter().find(|row| row.starts_with("disabled")).unwrap();
    assert!(row.contains("2 / 4") && row.contains("disabled by an operator"), "{row}");
    let width =
        browser.value("document.querySelector('#list .D').parentElement.querySelector('b').style.width");
    assert_eq!(width, json!("50%"));
    // Whoever cannot see it hears it, and it is the first of what changed last.
    assert!(browser.value("$('news').textContent").as_str().unwrap().ends_with(" is disabled"));
    let last = browser.value("document.querySelector('#last li').textContent");
    assert!(last.as_str().unwrap().contains("disabled by an operator"), "{last}");
    let totals = browser.value("$('totals').textContent");
    assert!(
        totals.as_str().unwrap().contains("2 / 3") && totals.as_str().unwrap().contains("6 / 12"),
        "{totals}"
    );
    // The rate comes from the difference of two looks.
    browser.wait_for("$('clock').textContent.startsWith('updated')");
    let before = browser.value("sets.get(1).rows[0].sel + sets.get(1).rows[1].sel + sets.get(1).rows[2].sel");
    assert_eq!(before, json!(6));
    let mut more = agent.call();
    assert_eq!(agent.place(&mut more).status(), Some(200));
    browser.wait_for("sets.get(1).rate > 0");

    // One that is drained takes no calls, and has a word and a filter of its own.
    server.rpc("dispatcher.drain", json!([1, gateways.uri(0), 3600])).unwrap();
    browser.wait_for("document.querySelector('#list .R') !== null");
    let rows = drawn(&mut browser);
    assert!(rows[0].contains("1: 1 of 3 up"), "{rows:?}");
    assert!(rows.iter().any(|row| row.starts_with("draining | gw0")), "{rows:?}");
    browser.value("$('st').value = 'R', build()");
    assert_eq!(drawn(&mut browser).len(), 2);
    browser.value("$('st').value = '', build()");
    assert_eq!(drawn(&mut browser).len(), 4);

    // Another list, by a reload of the server: rows come and go.
    server.write_list("1 sip:127.0.0.9:5060 0 0 duid=new\n2 sip:127.0.0.8:5060\n");
    server.rpc("dispatcher.reload", json!([])).unwrap();
    browser.wait_for("sets.size === 2 && sets.get(1).rows.length === 1 && !stale && !busy");
    let rows = drawn(&mut browser);
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows[1].contains("new sip:127.0.0.9"), "{rows:?}");
    assert_eq!(browser.value("window.mark"), json!("the same page"));
    content(&browser);
    server.stop();
}

/// Three sets of a hundred each.
fn three_hundred() -> String {
    (0..300)
        .map(|n| format!("{} sip:127.9.{}.{}:5060 0 0 duid=gw{n}\n", n / 100 + 1, n / 100, n % 100))
        .collect()
}

#[test]
fn filter_and_place_stay_while_it_refreshes() {
    let server = with_page(Kamailio::builder().list(three_hundred())).start();
    let mut browser = showing(&server, 300);
    browser.press("/");
    assert_eq!(browser.value("document.activeElement.id"), json!("q"));
    for key in ["g", "w", "1", "5"] {
        browser.press(key);
    }
    browser.wait_for("$('hits').textContent === '11 of 300'");
    assert_eq!(drawn(&mut browser).len(), 13, "gw15, and gw150 to gw159 in another set; a line for each set");
    refreshed(&mut browser);
    let kept = browser.value("[$('q').value, document.activeElement.id, $('hits').textContent]");
    assert_eq!(kept, json!(["gw15", "q", "11 of 300"]));
    // By state, and with the words of a reason.
    server.rpc("dispatcher.set_state", json!(["i", 2, "sip:127.9.1.50:5060"])).unwrap();
    browser.value("$('q').value = 'set:2 by operator'; $('st').value = 'I'; $('st').onchange()");
    browser.wait_for("$('hits').textContent === '1 of 300'");
    assert!(drawn(&mut browser)[1].starts_with("inactive | gw150"));
    // A page that is loaded again has the same filter.
    browser.open(&format!("{}#q=gw299", address(&server)));
    browser.value("window.before = 1; location.reload()");
    browser.wait_for("window.before === undefined && $('hits').textContent === '1 of 300'");

    browser.value("$('q').value = ''; $('q').oninput(); scrollTo(0, 5000)");
    // It draws what is in sight a moment later: by then there are rows above it as well.
    browser.wait_for("scrollY === 5000 && document.querySelectorAll('#list .row').length > 20");
    let places =
        "[scrollY, [...document.querySelectorAll('#list .row')].map(e => e.children[1].textContent)]";
    let seen = browser.value(places);
    refreshed(&mut browser);
    assert_eq!(browser.value(places), seen);
    content(&browser);
    server.stop();
}

#[test]
fn it_is_used_without_a_mouse_and_says_to_a_reader_where_it_is() {
    let server = with_page(Kamailio::builder().list(three_hundred())).start();
    let mut browser = showing(&server, 300);
    browser.value("document.querySelector('#tools #fold').focus()");
    let mut stops = Vec::new();
    while browser.value("document.activeElement.id") != json!("grid") {
        browser.press("Tab");
        stops.push(browser.value("document.activeElement.textContent"));
        assert!(stops.len() < 20, "{stops:?}");
    }
    let active = |browser: &mut Browser| {
        let text = "document.getElementById($('grid').getAttribute('aria-activedescendant'))?.textContent";
        browser.value(text).as_str().unwrap_or_default().to_owned()
    };
    browser.press("ArrowDown");
    assert!(active(&mut browser).starts_with("▾ set1: 100 of 100 up"), "{}", active(&mut browser));
    browser.press("ArrowDown");
    let first = active(&mut browser);
    assert!(first.contains("gw99"), "{first}");
    browser.press("Enter");
    browser.wait_for("!$('more').hidden && $('more').textContent.includes('failed probes')");
    assert!(browser.value("$('more').textContent").as_str().unwrap().contains("gw99"));
    browser.press("Escape");
    browser.wait_for("$('more').hidden && document.activeElement.id === 'grid'");
    browser.press("End");
    browser.wait_for("scrollY > 1000");
    let last = active(&mut browser);
    assert!(last.contains("gw200"), "{last}");
    refreshed(&mut browser);
    assert_eq!(active(&mut browser), last);
    browser.press("Home");
    browser.press("Enter");
    assert!(active(&mut browser).starts_with("▸ set"), "folded");
    assert_eq!(browser.value("[view.length, $('grid').getAttribute('aria-rowcount')]"), json!([203, "204"]));
    // What has no name for a reader, and what is to be clicked and no key reaches.
    let nameless = browser.value(
        "[...document.querySelectorAll('button, input, select, [tabindex]')].filter(e => !e.closest('[hidden]')\
         && !(e.textContent.trim() || e.labels?.length || e.getAttribute('aria-label'))).map(e => e.outerHTML)",
    );
    assert_eq!(nameless, json!([]));
    content(&browser);
    server.stop();
}

#[test]
fn hostile_names_do_not_become_markup() {
    const PHRASE: &[u8] =
        b"<script>window.hostile=1</script><img src=x onerror=window.hostile=2>\" \xff caf\xe9";
    let gateway = Probed::start();
    gateway.behave(Behaviour::Phrase(503, PHRASE));
    let server = with_page(probing(1, "")).start();
    let duid = b"<img/src=x/onerror=window.hostile=3>\xe9\"'</script><b>";
    let line = [b"1 ", gateway.uri().as_bytes(), b" 0 0 duid=", duid, b"\n"].concat();
    std::fs::write(server.list_file(), line).unwrap();
    server.rpc("dispatcher.reload", json!([])).unwrap();
    becomes(&server, 0, "IP");
    let mut browser = showing(&server, 1);
    browser.wait_for("document.querySelector('#list .I') !== null");
    let row = drawn(&mut browser).remove(1);
    assert!(row.contains("<img/src=x/onerror=window.hostile=3>\\xe9"), "{row}");
    assert!(row.contains("503 <script>window.hostile=1</script><img src=x onerror"), "{row}");
    browser.value("act(view[1])");
    browser.wait_for("$('more').textContent.includes('<script>')");
    refreshed(&mut browser);
    assert_eq!(
        browser.value("[document.querySelectorAll('script').length, document.images.length]"),
        json!([1, 0])
    );
    assert_eq!(browser.value("window.hostile ?? null"), Value::Null);
    // Even if one became markup it would not run.
    browser
        .value("document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=window.hostile=4>')");
    refreshed(&mut browser);
    assert_eq!(browser.value("window.hostile ?? null"), Value::Null);
    server.stop();
}

#[test]
fn a_server_that_is_away_is_told_and_found_again() {
    let server = with_page(Kamailio::builder().list("1 sip:127.0.1.1\n")).start();
    let mut browser = showing(&server, 1);
    browser.value("window.fetch_ = fetch; window.fetch = () => Promise.reject(Error('away'))");
    browser.wait_for("$('clock').className === 'bad' && $('clock').textContent.includes('no answer')");
    assert_eq!(drawn(&mut browser).len(), 2, "what was known is still shown");
    browser.value("window.fetch = fetch_");
    browser.wait_for("$('clock').className === 'dim' && $('clock').textContent.startsWith('updated')");
    content(&browser);
    server.stop();
}

/// Where the pictures go: beside what is built, or where `SCREENSHOTS` says.
fn pictures() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder =
        std::env::var_os("SCREENSHOTS").map_or_else(|| top.join("target/screenshots"), |to| top.join(to));
    std::fs::create_dir_all(&folder).expect("a folder for the pictures");
    folder
}

/// Pictures of the page, each small enough for a manual.
#[track_caller]
fn picture(browser: &mut Browser, name: &str) {
    let picture = browser.picture();
    assert!(picture.len() < 150_000, "{name}: {} bytes", picture.len());
    std::fs::write(pictures().join(format!("status-{name}.png")), picture).expect("it can be written");
}

/// Calls that stay up.
fn calls(server: &Kamailio, count: usize) {
    let mut agent = server.agent();
    for _ in 0..count {
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200));
    }
}

#[test]
fn three_thirty_and_twenty_thousand_destinations_are_shown() {
    let three = obedient(3);
    let server = with_page(Kamailio::builder().list(three.list(1, "maxload=20")).route(ROUTE)).start();
    calls(&server, 42);
    server.rpc("dispatcher.set_state", json!(["i", 1, three.uri(2)])).unwrap();
    let mut browser = showing(&server, 3);
    calls(&server, 7);
    browser.wait_for("sets.get(1).rate > 0");
    browser.colours("light");
    picture(&mut browser, "3");
    drop(browser);
    server.stop();

    let thirty = obedient(30);
    let lines: String = (0..30)
        .map(|n| {
            let set = if n < 12 { 1 } else { n / 12 + 1 };
            format!("{set} {} 0 {} duid=gw-{n:02};maxload={}\n", thirty.uri(n), 30 - n, 4 + n % 5)
        })
        .collect();
    let server = with_page(Kamailio::builder().list(lines).route(ROUTE)).start();
    calls(&server, 55);
    for (state, n) in [("i", 3), ("d", 8), ("t", 14), ("ip", 20)] {
        let set = if n < 12 { 1 } else { n / 12 + 1 };
        server.rpc("dispatcher.set_state", json!([state, set, thirty.uri(n)])).unwrap();
    }
    let mut browser = showing(&server, 30);
    refreshed(&mut browser);
    browser.colours("dark");
    picture(&mut browser, "30");
    // On a telephone nothing is wider than the screen.
    browser.resize(390, 844);
    browser.colours("light");
    refreshed(&mut browser);
    assert_eq!(browser.value("document.documentElement.scrollWidth <= 390"), json!(true));
    let over = browser.value(
        "[...document.querySelectorAll('#list .row:not([hidden]) > *')].filter(e => e.getBoundingClientRect().right > 390).length",
    );
    assert_eq!(over, json!(0));
    picture(&mut browser, "telephone");
    content(&browser);
    drop(browser);
    server.stop();

    // Set 1 has the three that answer.
    let set = |n: usize| if n < 3 { 1 } else { n / 500 + 2 };
    let uri = |n: usize| {
        if n < 3 { three.uri(n) } else { format!("sip:10.{}.{}.{}:5060", set(n), n % 500 / 250, n % 250) }
    };
    let flags = |n: usize| if n > 2 && n % 97 == 0 { 4 } else { 0 };
    let line =
        |n: usize| format!("{} {} {} {} duid=gw-{n};maxload=60\n", set(n), uri(n), flags(n), 500 - n % 500);
    let many: String = (0..20_000).map(line).collect();
    let mut server = with_page(Kamailio::builder().list(many).route(ROUTE).shm_megabytes(512)).start();
    let mut browser = showing(&server, 20_000);
    browser.colours("light");
    calls(&server, 130);
    for (state, n) in [("i", 4), ("t", 7), ("i", 700), ("d", 19_000)] {
        server.rpc("dispatcher.set_state", json!([state, set(n), uri(n)])).unwrap();
    }
    refreshed(&mut browser);
    assert!(browser.value("document.querySelectorAll('#list .row').length").as_u64().unwrap() < 60);
    picture(&mut browser, "20000");
    browser.value("scrollTo(0, document.body.scrollHeight)");
    browser.wait_for(
        "[...document.querySelectorAll('#list .row')].some(e => e.textContent.includes('gw-19999 '))",
    );
    // What failed is found among them at once.
    browser.value("scrollTo(0, 0); $('st').value = 'D'; $('st').onchange()");
    browser.wait_for("$('hits').textContent === '207 of 20,000'");
    // Sorted by another column, one way and the other.
    browser.value("$('st').value = ''; keep(); [...$('head').children][1].firstChild.click()");
    assert!(drawn(&mut browser)[0].contains("sip:10.10.0.0:"), "{:?}", drawn(&mut browser)[0]);
    let sorted = browser.value("view.every((r, n) => !n || view[n - 1].u <= r.u) && view.length");
    assert_eq!(sorted, json!(20_000));
    browser.value("[...$('head').children][1].firstChild.click()");
    assert_eq!(browser.value("view[0].u >= view[19999].u"), json!(true));
    content(&browser);
    drop(browser);
    server.assert_healthy();
    server.stop();
}
