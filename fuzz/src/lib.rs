//! What reads text from outside, each with what must hold whatever the text is. The programs in `fuzz_targets` hand these
//! to libFuzzer; `make fuzz` runs them for long, `make fuzzcheck` the same short way each time.
//!
//! Not here: the server's own parser of URIs, which needs the server.

use dispatcher::api::select;
use dispatcher::dest::address::{self, Address, Use};
use dispatcher::dest::address::{unfit, uri_of};
use dispatcher::dest::attrs::{self, MAX_NUMBER};
use dispatcher::dest::{Attrs, Flags, ReplyCodes, SourceLine, SourcePosition, arranged, list};
use dispatcher::host::arguments::{Given, Signature};
use dispatcher::host::script::{Argument, Kind};
use dispatcher::load::key::checksum;
use dispatcher::service::state_file::Saved;

/// A whole list file: findings lie in their lines, each line gives one destination or one error at most, and what was read
/// and is written down again is read as the same.
pub fn list_file(text: &[u8]) {
    let lines: Vec<_> = text.split(|&byte| byte == b'\n').collect();
    let inside = |place: SourcePosition| match place {
        SourcePosition::Line(line, column) => {
            let length = lines.get(line.wrapping_sub(1)).expect("a line of the file").len();
            assert!((1..=length + 1).contains(&column), "{line}:{column} of {length}");
        }
        SourcePosition::Row(_) => panic!("a row in a file"),
    };
    let (all, problems) = list::parse(text);
    problems.iter().for_each(|problem| inside(problem.place));
    assert!(all.len() <= lines.len());
    assert_eq!(arranged(&all).len(), all.len());
    for one in &all {
        inside(one.place);
        assert!(!one.uri.is_empty());
        if let Err(problem) = one.entry(true) {
            inside(problem.place);
        }
        let again = [
            format!("{} ", one.set).as_bytes(),
            &one.uri,
            format!(" {} {} ", one.flags.0, one.priority).as_bytes(),
            &one.attrs,
        ]
        .concat();
        let (back, _) = list::parse(&again);
        let [back] = back.as_slice() else { panic!("{} gave {back:?}", again.escape_ascii()) };
        assert_eq!(essence(back), essence(one));
    }
}

fn essence<'a>(one: &'a SourceLine<'_>) -> (i32, &'a [u8], u32, i32, &'a [u8]) {
    (one.set, &one.uri, one.flags.0, one.priority, &one.attrs)
}

/// Attributes: numbers fit the answer of `dispatcher.list`, the text is kept, and reading it again gives the same.
pub fn attributes(text: &[u8]) {
    let Ok(read) = Attrs::parse(text, true) else { return };
    let numbers =
        [read.maxload, read.latency, read.weight, read.rweight, read.ping_interval, read.ping_timeout];
    assert!(numbers.iter().all(|&number| number <= MAX_NUMBER), "{numbers:?}");
    assert!(read.ocmin <= 100);
    assert_eq!(read.body, attrs::body(text));
    assert_eq!(unfit(&read.obproxy).or(unfit(uri_of(&read.ping_from))), None);
    assert!(!read.body.iter().chain(&*read.ping_from).any(u8::is_ascii_control));
    let again = Attrs::parse(&read.body, true).expect("read once, read again");
    assert_eq!((&again.duid, again.maxload, again.cc), (&read.duid, read.maxload, read.cc));
}

/// Reply codes: a 2xx is always good, a code that is none never is.
pub fn reply_codes(text: &[u8]) {
    let (codes, mended) = ReplyCodes::read(text);
    mended.iter().for_each(|(text, instead)| assert!(text.contains("expected") && !instead.is_empty()));
    assert!((200..300).all(|code| codes.accept(code)));
    assert!((700..1000).chain([0, 99, u16::MAX]).all(|code| !codes.accept(code)));
    ReplyCodes::default().accept(404).then(|| panic!("404 is good for nobody"));
}

/// Rules of `ds_select_routes`: there is one at least, and written down again they are read as the same.
pub fn rules(text: &[u8]) {
    let Ok((read, _)) = select::rules(text) else { return };
    assert!(!read.is_empty());
    let again: String = read.iter().map(|rule| format!("{}={};", rule.set, rule.algorithm)).collect();
    assert_eq!(select::rules(again.as_bytes()), Ok((read, None)));
}

/// What must not reach a SIP message inside a URI.
fn breaks_out(byte: &u8) -> bool {
    byte.is_ascii_control() || b" <>\"".contains(byte)
}

/// A URI of a destination, and addresses as `obproxy` and `ping_from` have them: what passes can neither end the URI nor the
/// header that it stands in, and what was mended once needs no mending.
pub fn destination_uri(text: &[u8]) {
    assert_eq!(address::unfit(text).is_none(), !text.iter().any(breaks_out));
    if let Some(full) = address::with_scheme(text) {
        assert!(full.ends_with(text) && address::with_scheme(&full).is_none());
    }
    for place in [Use::From, Use::NextHop] {
        let Ok(read) = Address::read(text, place) else { continue };
        let uri = address::uri_of(&read.text);
        assert!(!uri.is_empty() && !uri.iter().any(breaks_out), "{}", uri.escape_ascii());
        assert!(!read.text.iter().any(u8::is_ascii_control), "{}", read.text.escape_ascii());
        assert!(place == Use::From || *uri == *read.text);
        let again = Address::read(&read.text, place).expect("what was mended is right");
        assert_eq!((&again.text, again.mended), (&read.text, None));
    }
    if address::is_host_name(text) {
        assert!(text.is_ascii() && address::unfit(text).is_none());
    }
}

/// A state file: as it is, and with the beginning and the checksum that make its inside count.
pub fn state_file(bytes: &[u8]) {
    let _ = Saved::read(bytes);
    for layout in b'1'..=b'3' {
        let mut framed = [b"kamailio dispatcher state ", &[layout, b'\n'][..], bytes].concat();
        let sum = checksum(&framed);
        framed.extend(sum.to_le_bytes());
        if let Ok(saved) = Saved::read(&framed) {
            let _ = saved.secret();
            // Cut or changed it is no state file.
            framed.pop();
            assert!(Saved::read(&framed).is_err());
        }
    }
}

const fn argument(name: &'static str, kind: Kind) -> Argument {
    Argument { name, kind }
}

/// As `dispatcher.add` has them.
const ADD: Signature = Signature {
    name: "dispatcher.add",
    arguments: &[
        argument("set", Kind::Int),
        argument("uri", Kind::Text),
        argument("flags", Kind::Int),
        argument("priority", Kind::Int),
        argument("attributes", Kind::Text),
    ],
    required: 2,
};

/// Arguments of an RPC command, one a line; those that begin with `#` and are numbers come as numbers. What is taken is of the
/// kinds that the command declares; what is not is answered in one line with the usage.
pub fn rpc_arguments(text: &[u8]) {
    let given = |line: &[u8]| {
        let number =
            line.strip_prefix(b"#").and_then(|digits| core::str::from_utf8(digits).ok()?.parse().ok());
        number.map_or_else(|| Given::Text(line.to_vec()), Given::Int)
    };
    let given: Vec<_> = text.split(|&byte| byte == b'\n').map(given).collect();
    match ADD.check(given) {
        Ok(taken) => {
            assert!((ADD.required..=ADD.arguments.len()).contains(&taken.len()));
            for (declared, taken) in ADD.arguments.iter().zip(&taken) {
                match (declared.kind, taken) {
                    (Kind::Int, Given::Int(_)) => {}
                    (Kind::Text, Given::Text(text)) => {
                        let _ = (Attrs::parse(text, true), Flags::from_mark(text));
                        if let Some(state) = Flags::from_rpc(text) {
                            assert_eq!(state.without(Flags::STATES), Flags::default());
                        }
                    }
                    _ => panic!("{declared:?} got {taken:?}"),
                }
            }
        }
        Err(wrong) => {
            let told = ADD.told(&wrong);
            assert!(
                told.ends_with("Usage: dispatcher.add set uri [flags [priority [attributes]]]"),
                "{told}"
            );
            assert!(told.len() < 400 && !told.contains(|letter: char| letter.is_control()), "{told}");
        }
    }
}
