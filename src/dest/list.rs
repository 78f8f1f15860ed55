//! The list file: one destination a line, `setid uri [flags [priority [attrs]]]`, `#` begins a comment.
//!
//! Format: manual of the stock module, section "Destination List File". Lines may be of any length (the stock module
//! reads 1023 bytes and takes the rest for a line of its own).

use super::problem::{Place, shown};
use super::{Flags, Problem, Written};
use std::borrow::Cow;

/// Reads a whole file: its destinations, and what is wrong with it. What the attributes say is not looked at.
pub fn parse(text: &[u8]) -> (Vec<Written<'_>>, Vec<Problem>) {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        match parse_line(at + 1, line, &mut problems) {
            Ok(written) => all.extend(written),
            Err(problem) => problems.push(problem),
        }
    }
    (all, problems)
}

fn parse_line<'t>(
    number: usize,
    line: &'t [u8],
    problems: &mut Vec<Problem>,
) -> Result<Option<Written<'t>>, Problem> {
    let mut fields = Fields { line, at: 0 };
    let wrong = |field: Field<'_>, name: &str, due: &str| {
        Problem::error(
            Place::Line(number, field.column()),
            format!("{name} {}: {due} is due", shown(field.text)),
        )
    };
    let Some(set_field) = fields.next(b"#") else { return Ok(None) };
    let set = decimal(set_field.text).ok_or_else(|| {
        wrong(
            set_field,
            "set id",
            "a whole number from 0 to 2147483647, then a SIP URI and flags, priority, attributes",
        )
    })?;
    let Some(uri) = fields.next(b"#") else {
        return Err(Problem::error(Place::Line(number, fields.at + 1), "a SIP URI is due after the set id"));
    };
    let mut written = Written {
        place: Place::Line(number, uri.column()),
        set,
        uri: Cow::Borrowed(uri.text),
        flags: Flags::default(),
        priority: 0,
        attrs: Cow::Borrowed(&[]),
        attrs_column: 0,
    };
    // Attributes may follow early: where a number is due, what begins with a letter and has a `=` is taken for them.
    if let Some(flags) = fields.number() {
        written.flags = parse_flags(flags.text)
            .ok_or_else(|| wrong(flags, "flags", "a whole number from 0 to 2147483647 (or hex, 0x…)"))?;
        if let Some(priority) = fields.number() {
            written.priority = decimal(priority.text)
                .ok_or_else(|| wrong(priority, "priority", "a whole number from 0 to 2147483647"))?;
        }
    }
    let Some(attrs) = fields.next(b"").filter(|attrs| !attrs.text.starts_with(b"#")) else {
        return Ok(Some(written));
    };
    written.attrs = Cow::Borrowed(attrs.text);
    written.attrs_column = attrs.column();
    if let Some(rest) = fields.next(b"#") {
        problems.push(Problem::warning(
            Place::Line(number, rest.column()),
            format!("{} after the attributes is ignored: attributes hold no spaces", shown(rest.text)),
        ));
    }
    Ok(Some(written))
}

/// Digits only; a sign or more than `i32::MAX` is wrong.
fn decimal(text: &[u8]) -> Option<i32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

fn parse_flags(text: &[u8]) -> Option<Flags> {
    let number = match text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")) {
        Some(hex) if hex.iter().all(u8::is_ascii_hexdigit) => {
            i32::from_str_radix(core::str::from_utf8(hex).ok()?, 16).ok()?
        }
        Some(_) => return None,
        None => decimal(text)?,
    };
    u32::try_from(number).ok().map(Flags)
}

#[derive(Clone, Copy)]
struct Field<'a> {
    text: &'a [u8],
    start: usize,
}

impl Field<'_> {
    fn column(self) -> usize {
        self.start + 1
    }
}

struct Fields<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// The next field, unless it looks like attributes: then it stays for later.
    fn number(&mut self) -> Option<Field<'a>> {
        let before = self.at;
        let field = self.next(b"#")?;
        if field.text.first().is_some_and(u8::is_ascii_alphabetic) && field.text.contains(&b'=') {
            self.at = before;
            return None;
        }
        Some(field)
    }

    /// The next run of bytes that are neither white space nor one of `stops`; a stop at its start ends the line.
    fn next(&mut self, stops: &[u8]) -> Option<Field<'a>> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let rest = self.line.get(self.at..)?;
        self.at += rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len());
        let rest = self.line.get(self.at..)?;
        let len = rest.iter().position(|byte| blank(byte) || stops.contains(byte)).unwrap_or(rest.len());
        let start = self.at;
        self.at += len;
        (len > 0).then_some(Field { text: rest.get(..len)?, start })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> Written<'_> {
        let (mut all, problems) = parse(line.as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn attrs(line: &str) -> (Vec<u8>, u32) {
        let one = one(line);
        let attrs = one.entry().unwrap().attrs;
        (attrs.body.to_vec(), attrs.maxload)
    }

    fn refused(line: &str) -> Problem {
        let (all, mut problems) = parse(line.as_bytes());
        assert!(all.is_empty(), "{all:?}");
        problems.remove(0)
    }

    #[test]
    fn fields_may_end_early_and_comments_start_anywhere() {
        assert_eq!(&*one("2 sip:127.0.0.1:5080;transport=tcp").uri, b"sip:127.0.0.1:5080;transport=tcp");
        assert_eq!(one("  2\tsip:a 0x1 # x").flags, Flags::INACTIVE);
        assert_eq!(one("2 sip:a 8 7\r").priority, 7);
        assert_eq!(attrs("2 sip:a 0 0 duid=a;note=x#y; # z").0, b"duid=a;note=x#y");
        assert_eq!(&*one("2 sip:a#b").uri, b"sip:a");
        assert_eq!(parse(b"\n# all\n   \n").0.len(), 0);
    }

    #[test]
    fn a_bad_line_is_told_with_its_place_and_the_others_load() {
        let (all, problems) = parse(b"1 sip:a\nx sip:b\n1 sip:c 0 0 x=y;maxload=no\n1 sip:d\n");
        assert_eq!(problems.iter().map(|p| p.place).collect::<Vec<_>>(), [Place::Line(2, 1)]);
        let places = |good: bool| {
            let entries = all.iter().map(Written::entry).filter(move |entry| entry.is_ok() == good);
            entries.map(|entry| entry.map_or_else(|p| p.place, |e| e.place)).collect::<Vec<_>>()
        };
        assert_eq!(places(true), [Place::Line(1, 3), Place::Line(4, 3)]);
        assert_eq!(places(false), [Place::Line(3, 17)]);
    }

    #[test]
    fn each_field_says_what_is_due() {
        assert!(refused("sip:a").text.contains("set id 'sip:a'"));
        assert_eq!(refused("1  # nothing").place, Place::Line(1, 4));
        assert_eq!(refused("1 sip:a -1").place, Place::Line(1, 9));
        assert!(refused("1 sip:a 0xfg").text.contains("flags '0xfg'"));
        assert!(refused("1 sip:a 0x").text.contains("hex"));
        assert!(refused("99999999999 sip:a").text.contains("2147483647"));
        assert!(refused("1 sip:a 0 high").text.contains("priority 'high'"));
    }

    #[test]
    fn attributes_may_follow_without_flags_or_priority() {
        assert_eq!(attrs("1 sip:a duid=x;maxload=3").1, 3);
        let one = one("1 sip:a 8 duid=x#y # comment");
        assert_eq!((one.flags, &*one.entry().unwrap().attrs.duid), (Flags::PROBING, &b"x#y"[..]));
    }

    #[test]
    fn text_after_the_attributes_warns_and_loads() {
        let (all, problems) = parse(b"1 sip:a 0 0 duid=a; maxload=3");
        assert_eq!(all.len(), 1);
        assert_eq!(
            (problems[0].severity, problems[0].place),
            (crate::dest::Severity::Warning, Place::Line(1, 21))
        );
    }

    #[test]
    fn equal_priorities_come_last_line_first() {
        let (all, _) = parse(b"1 sip:a 0 1\n1 sip:b 0 5\n0 sip:z\n1 sip:c 0 1\n");
        let order: Vec<_> = crate::dest::arranged(&all).iter().map(|one| &*one.uri).collect();
        assert_eq!(order, [b"sip:z", b"sip:b", b"sip:c", b"sip:a"]);
    }

    proptest! {
        #[test]
        fn any_bytes_give_entries_and_problems_within_their_lines(
            text in prop::collection::vec(prop_oneof![Just(b' '), Just(b'\n'), Just(b'#'), Just(b'0'), any::<u8>()], 0..300)
        ) {
            let lines: Vec<_> = text.split(|&byte| byte == b'\n').collect();
            let (all, problems) = parse(&text);
            for problem in problems.into_iter().chain(all.iter().filter_map(|one| one.entry().err())) {
                let Place::Line(line, column) = problem.place else { panic!("{problem:?}") };
                prop_assert!(column <= lines[line - 1].len() + 1);
            }
        }
    }
}
