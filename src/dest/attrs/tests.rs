//! What attributes mean, and what is told of values without sense.

use super::*;
use proptest::prelude::*;

#[test]
fn known_attributes_are_read_and_unknown_ones_kept() {
    let attrs = Attrs::parse(b"duid=abc;MaxLoad=20;socket=udp:1.2.3.4:5060;my=xyz;weight=7;", true).unwrap();
    assert_eq!(&*attrs.duid, b"abc");
    assert_eq!(attrs.maxload, 20);
    assert_eq!(attrs.weight, 7);
    assert_eq!(&*attrs.socket, b"udp:1.2.3.4:5060");
    assert_eq!(&*attrs.body, b"duid=abc;MaxLoad=20;socket=udp:1.2.3.4:5060;my=xyz;weight=7");
}

#[test]
fn quotes_protect_a_semicolon_and_are_taken_off() {
    let attrs = Attrs::parse(b"x=\"a;maxload=3\";duid='q'", true).unwrap();
    assert_eq!((attrs.maxload, &*attrs.duid), (0, &b"q"[..]));
    let attrs = Attrs::parse(b"x=it's;maxload=3;duid=\"", true).unwrap_err();
    assert!(attrs.0 == 17 && attrs.1.contains("not closed"), "{attrs:?}");
    assert_eq!(Attrs::parse(b"x=it's;maxload=3;y=5\"", true).unwrap().maxload, 3);
}

#[test]
fn a_bad_number_is_named_with_its_offset() {
    let attrs = Attrs::parse(b"duid=a;maxload=-5;weight=1x;", true).unwrap();
    assert_eq!((attrs.maxload, attrs.weight), (0, 1));
    let told: Vec<_> = attrs.findings.iter().map(|it| (it.at, &*it.text, &*it.instead)).collect();
    let maxload = "maxload='-5': expected a whole number from 0 to 2147483647";
    let weight = "weight='1x': expected a whole number from 0 to 2147483647";
    assert_eq!(told, [(7, maxload, "no limit is in effect"), (18, weight, "1 is in effect, 'x' is ignored")]);
}

/// The value of `read`, and what is in effect.
fn mended<T>(text: &'static str, read: impl Fn(&Attrs<'_>) -> T) -> (T, Vec<String>) {
    let attrs = Attrs::parse(text.as_bytes(), true).unwrap();
    (read(&attrs), attrs.findings.iter().map(|finding| finding.instead.clone()).collect())
}

#[test]
fn leading_number_of_a_value_counts_and_the_rest_is_told() {
    for (text, value, instead) in [
        ("rweight=50,maxload=80", 50, "50 is in effect, ',maxload=80' is ignored"),
        ("rweight=50, weight=30", 50, "50 is in effect, ', weight=30' is ignored"),
        ("rweight=10.5", 10, "10 is in effect, '.5' is ignored"),
        ("rweight=20ms", 20, "20 is in effect, 'ms' is ignored"),
        ("rweight=0x10", 0, "0 is in effect, 'x10' is ignored"),
        ("rweight=-3", 0, "0 is in effect"),
        ("rweight=2147483648", MAX_NUMBER, "2147483647 is in effect"),
        ("rweight=", 0, "it is as if not there"),
        ("rweight", 0, "it is as if not there"),
        ("rweight=many", 0, "it is as if not there"),
        ("rweight=7;rweight=9", 7, "the first one is in effect"),
    ] {
        assert_eq!(mended(text, |attrs| attrs.rweight), (value, vec![instead.to_owned()]), "{text}");
        assert_eq!(mended(text, |attrs| attrs.maxload).0, 0, "{text}");
    }
    for (text, value) in [("rweight=+5", 5), ("rweight=007", 7), ("rweight='8'", 8), ("rweight= 9 ", 9)] {
        assert_eq!(mended(text, |attrs| attrs.rweight), (value, vec![]), "{text}");
    }
    assert_eq!(mended("ocmin=150", |attrs| attrs.ocmin), (100, vec!["100 is in effect".to_owned()]));
    assert_eq!(mended("ocmin=x", |attrs| attrs.ocmin).0, Attrs::default().ocmin);
    assert_eq!(mended("ocmax=150", |attrs| attrs.ocmax).0, 100);
    assert_eq!(mended("ocrate=x", |attrs| attrs.ocrate).0, 0);
}

#[test]
fn switch_understands_yes_and_no() {
    for (text, on, instead) in [
        ("cc=1", true, None),
        ("cc=0", false, None),
        ("cc=yes", true, Some("1 is in effect")),
        ("cc=ON", true, Some("1 is in effect")),
        ("cc=no", false, Some("0 is in effect")),
        ("cc=2", true, Some("1 is in effect")),
        ("cc=1x", true, Some("1 is in effect, 'x' is ignored")),
        ("cc=", false, Some("it is as if not there")),
        ("cc=maybe", false, Some("it is as if not there")),
    ] {
        let told = instead.into_iter().map(str::to_owned).collect();
        assert_eq!(mended(text, |attrs| attrs.cc), (on, told), "{text}");
    }
}

#[test]
fn text_ends_at_a_blank_or_comma_unless_it_stands_in_quotes() {
    let (socket, told) = mended("socket=udp:h:1,weight=5", |attrs| attrs.socket.to_vec());
    assert_eq!(socket, b"udp:h:1");
    assert_eq!(told, ["'udp:h:1' is in effect, ',weight=5' is ignored"]);
    assert_eq!(mended("duid=a b", |attrs| attrs.duid.to_vec()).0, b"a");
    assert_eq!(mended("duid='a b,c'", |attrs| attrs.duid.to_vec()), (b"a b,c".to_vec(), vec![]));
}

#[test]
fn addresses_of_probes_are_sip_uris_and_what_breaks_out_of_a_message_is_wrong() {
    let from = |text| mended(text, |attrs| String::from_utf8(attrs.ping_from.to_vec()).unwrap());
    let proxy = |text| mended(text, |attrs| String::from_utf8(attrs.obproxy.to_vec()).unwrap());
    let told = |uri: &str| vec![format!("'{uri}' is in effect")];
    assert_eq!(
        from("ping_from=teams.example.com"),
        ("sip:teams.example.com".into(), told("sip:teams.example.com"))
    );
    assert_eq!(proxy("obproxy=127.0.0.1:5090"), ("sip:127.0.0.1:5090".into(), told("sip:127.0.0.1:5090")));
    assert_eq!(proxy("obproxy=<sip:h>"), ("sip:h".into(), vec![]));
    assert_eq!(from("ping_from='\"Ping\" <sip:h>'"), ("\"Ping\" <sip:h>".into(), vec![]));
    assert_eq!(from("ping_from=\"Ping\" <sip:h>"), ("\"Ping\" <sip:h>".into(), vec![]));
    assert_eq!(proxy("obproxy="), (String::new(), vec![]));
    for bad in
        ["obproxy=sip:h>", "obproxy=<sip:h", "ping_from=sip:h>", "ping_from='sip:h x'", "obproxy='sip:h\"'"]
    {
        let (at, text) = Attrs::parse(bad.as_bytes(), true).unwrap_err();
        assert!(at == 0 && text.contains("expected a SIP URI"), "{bad}: {text}");
    }
    for bad in [&b"duid=a;note=x\r\nInjected: yes"[..], b"duid=a\0", b"a=\x1b[2J"] {
        assert!(Attrs::parse(bad, true).unwrap_err().1.contains("cannot stand in attributes"));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(attrs) = Attrs::parse(&text, true) {
            prop_assert!(attrs.maxload <= MAX_NUMBER);
        }
    }
}
