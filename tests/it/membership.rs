//! Membership over several destinations and sets, from IPv6, and as states change.

use std::net::UdpSocket;
use std::time::Duration;

use crate::from_list::{about, start};
use crate::odd_messages::plain;
use crate::side_by_side::{Answer, Pair};
use crate::support::Message;

const STATES: [&str; 8] = ["a", "ap", "i", "ip", "d", "dp", "t", "tp"];

#[test]
fn activity_is_the_same_in_all_states() {
    let uris = ["sip:127.0.9.1:5060", "sip:127.0.9.2"];
    let others = ["sip:127.0.9.2:5060", "sip:127.0.9.1", "SIP:127.0.9.2", "sip:127.0.9.3", ""];
    let list = format!("3 {} 0 2 a=1\n3 {} 0 1 a=2\n4 sip:127.0.9.3 0 1 a=3\n", uris[0], uris[1]);
    let (mut pair, _) = start(&list);
    let mut seen = [0; 4];
    for first in STATES {
        for second in STATES {
            pair.set_state(first, 3, uris[0]);
            pair.set_state(second, 3, uris[1]);
            let usable = [first, second].map(|state| state.starts_with(['a', 't']));
            for (at, uri) in uris.into_iter().chain(others).enumerate() {
                let answer = pair.same(&about(3, uri));
                let active = usable.contains(&true);
                let this = usable.get(at).copied().unwrap_or(uri.is_empty() && active);
                let code = |is: bool| if is { "1" } else { "-1" };
                let due = (code(active), code(this));
                let told = (answer.one("Active"), answer.one("Active-Uri"));
                assert_eq!(told, due, "{uri} of {first} and {second}");
                seen[usize::from(active) * 2 + usize::from(this)] += 1;
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] == 0 && seen[2] > 0 && seen[3] > 0, "{seen:?}");
    pair.stop();
}

#[test]
fn sets_exist_as_in_the_stock_module() {
    let (mut pair, _) = start("0 sip:127.0.9.1\n7 sip:127.0.9.2 4\n2147483647 sip:127.0.9.3\n");
    for (set, exists) in [
        (0, true),
        (7, true),
        (2_147_483_647, true),
        (1, false),
        (-1, false),
        (-7, false),
        (2_147_483_646, false),
        (-2_147_483_648, false),
    ] {
        let answer = pair.same(&about(set, "sip:127.0.9.1"));
        let due = if exists { "1" } else { "-1" };
        assert_eq!((answer.one("Exists"), answer.one("Exist")), (due, due), "{set}");
    }
    pair.stop();
}

fn row<'a>(answer: &'a Answer, asked: &str) -> &'a str {
    let found = answer.all("Row").find_map(|row| row.strip_prefix(asked)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {asked} in {answer:?}"))
}

/// In the order of priority; of equals, the last line first.
#[test]
fn first_destination_of_the_set_that_matches_gives_its_attributes() {
    let host = "sip:127.0.9.1";
    let list = format!(
        "4 {host}:5070 0 9 note=port\n4 {host}:5060;transport=udp 1 8 note=inactive\n4 {host} 16 7 note=name\n\
         4 {host};transport=tcp 0 6 note=tcp\n4 {host}:5060 0 5\n4 {host} 0 4 note=earlier\n\
         4 {host} 0 4 note=later\n5 sip:127.0.9.2 0 3 note=other\n"
    );
    let (mut pair, _) = start(&list);
    for uri in ["", ":5060", ":5070", ":5080"] {
        for transport in ["", ";transport=udp", ";transport=tcp", ";transport=sctp"] {
            pair.same(&about(4, &format!("{host}{uri}{transport}")));
        }
    }
    let udp = pair.same(&about(4, &format!("{host}:5060;transport=udp")));
    let told = ["4 0", "4 1", "4 2", "4 4", "4 5", "4 6", "4 7", "-1 0"].map(|asked| row(&udp, asked));
    let inactive = "1 -7 note=inactive";
    let due = [inactive, inactive, inactive, "-1 -7 unset", "-1 -7 unset", "1 -7 note=tcp", "1 -7 note=port"];
    // Where an address without transport is UDP there are more to match.
    let due = if cfg!(stock_default_transport) {
        [
            inactive,
            "1 -7 note=port",
            inactive,
            "1 -7 unset",
            "1 -7 note=port",
            "1 -7 note=tcp",
            "1 -7 note=port",
        ]
    } else {
        due
    };
    assert_eq!((&told[..7], told[7]), (&due[..], "1 4 note=inactive"));
    let none = pair.same(&about(4, &format!("{host}:5060")));
    let told = ["4 0", "4 2", "4 4"].map(|asked| row(&none, asked));
    let due = if cfg!(stock_default_transport) { inactive } else { "1 -7 unset" };
    assert_eq!(told, [due, inactive, "1 -7 unset"]);
    assert_eq!(row(&pair.same(&about(4, &format!("{host}:5080"))), "4 0"), "1 -7 note=later");
    pair.stop();
}

/// Ours looks in the order of set ids, the stock module in that of its tree: leaves first.
#[test]
fn lowest_set_is_found_first_where_any_is_searched() {
    let host = "sip:127.0.9.1";
    let list = format!("2 {host} 0 0 note=two\n1 {host}:5070 0 0 note=one\n3 {host} 0 0 note=three\n");
    let (mut pair, _) = start(&list);
    for (port, by_ours, by_stock) in [
        ("5060", "1 2 note=two", "1 3 note=three"),
        ("5070", "1 1 note=one", "1 1 note=one"),
        ("5080", "1 2 note=two", "1 3 note=three"),
    ] {
        let (ours, stock) = pair.ask(&about(2, &format!("{host}:{port}")));
        let told = (row(&ours, "-1 2"), row(&stock, "-1 2"));
        assert_eq!(told, (by_ours, by_stock), "{port}");
        assert_eq!(row(&ours, "2 2"), row(&stock, "2 2"));
    }
    pair.set_state("i", 2, host);
    let (ours, stock) = pair.ask(&about(2, &format!("{host}:5060")));
    assert_eq!((row(&ours, "-1 6"), row(&stock, "-1 6")), ("1 3 note=three", "1 3 note=three"));
    pair.stop();
}

#[track_caller]
fn ask_over_ipv6(socket: &UdpSocket, server: &str, message: &Message) -> Answer {
    socket.send_to(&message.bytes(), server).unwrap();
    let mut buffer = vec![0; 65_536];
    let length = socket.recv(&mut buffer).expect("an answer over IPv6");
    let answer = Message::parse(&buffer[..length]).unwrap();
    let line = |(name, value): &(String, String)| Some(format!("{}: {value}", name.strip_prefix("X-")?));
    Answer(answer.headers.iter().filter_map(line).collect())
}

#[test]
fn source_may_have_an_ipv6_address() {
    let socket = UdpSocket::bind("[::1]:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let port = socket.local_addr().unwrap().port();
    let list = format!(
        "1 sip:[::1] 0 0 note=n1\n2 sip:[::1]:{port};transport=udp\n3 sip:[0:0::1]:{port}\n\
         4 sip:[::1]:{};transport=udp\n5 sip:[::2]\n6 sip:127.0.0.1\n7 sip:[::1] 16\n",
        port ^ 1
    );
    let (pair, addresses): (Pair, _) = start(&list);
    for set in 1..8 {
        let message = plain("MESSAGE").with("X-Set", set.to_string());
        let [ours, stock] = addresses.each_ref().map(|at| ask_over_ipv6(&socket, at, &message));
        let own = |answer: &Answer| {
            let of_set = format!("{set} ");
            answer.all("Row").filter(|row| row.starts_with(&of_set)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(own(&ours), own(&stock));
        let told = ["0", "1", "2", "3"].map(|mode| row(&ours, &format!("{set} {mode}")).starts_with("1 "));
        let due = match set {
            1 | 3 if !cfg!(stock_default_transport) => [false, false, true, true],
            1..4 => [true; 4],
            4 => [false, true, false, true],
            _ => [false; 4],
        };
        assert_eq!(told, due, "set {set}");
    }
    pair.stop();
}
