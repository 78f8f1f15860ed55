//! The list file: one destination a line, `setid uri [flags [priority [attrs]]]`, `#` begins a comment.
//!
//! Format: manual of the stock module, section "Destination List File". Lines may be of any length (the stock module
//! reads 1023 bytes and takes the rest for a line of its own).

use super::number::{hexadecimal, leading};
use super::problem::{ALL_SETS, OF_ALL_SETS, SourcePosition, in_effect, shown};
use super::{Flags, Problem, SourceLine};
use std::borrow::Cow;

/// Reads a whole file: its destinations, and what is wrong with it. Attributes are not checked yet.
pub fn parse(text: &[u8]) -> (Vec<SourceLine<'_>>, Vec<Problem>) {
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
) -> Result<Option<SourceLine<'t>>, Problem> {
    let mut fields = Fields { line, at: 0, numbers: 0 };
    let Some(set_field) = fields.next(b"#") else { return Ok(None) };
    let mut reader = Reader { line: number, problems };
    let (set, uri) = reader.set_and_uri(set_field, &mut fields)?;
    let place = reader.place(uri);
    let mut written = SourceLine {
        place,
        set,
        uri: Cow::Borrowed(uri.text),
        flags: Flags::default(),
        priority: 0,
        attrs: Cow::Borrowed(&[]),
        attrs_column: 0,
    };
    // As in the stock module, attributes begin where a number is expected and none begins.
    let mut early = fields.at_number().err();
    if early.is_none() {
        written.flags = reader.flags(&mut fields);
        early = fields.at_number().err();
        if early.is_none() {
            written.priority = reader.priority(&mut fields);
        }
    }
    let Some(attrs) = fields.next(b"").filter(|attrs| !attrs.text.starts_with(b"#")) else {
        return Ok(Some(written));
    };
    if early.is_some_and(|looks_like_attributes| !looks_like_attributes) {
        let name = if fields.numbers == 0 { "flags" } else { "priority" };
        reader.mended(attrs, name, "a number, or attributes", "it is taken for the attributes".into());
    }
    written.attrs = Cow::Borrowed(attrs.text);
    written.attrs_column = attrs.column();
    if let Some(rest) = fields.next(b"#") {
        reader.problems.push(Problem::warning(
            reader.place(rest),
            format!("{} after the attributes is ignored: attributes hold no spaces", shown(rest.text)),
        ));
    }
    Ok(Some(written))
}

/// Reads the fields of one line.
struct Reader<'p> {
    line: usize,
    problems: &'p mut Vec<Problem>,
}

const WHOLE: &str = "a whole number from 0 to 2147483647";

impl Reader<'_> {
    fn place(&self, field: Field<'_>) -> SourcePosition {
        SourcePosition::Line(self.line, field.column())
    }

    /// Tells that a field is read as something else.
    fn mended(&mut self, field: Field<'_>, name: &str, expected: &str, instead: String) {
        let text = format!("{name} {}: expected {expected}", shown(field.text));
        self.problems.push(Problem::mended(self.place(field), text, instead));
    }

    /// As in the stock module, a URI may stand at once behind the number, and without a number the set is 0.
    fn set_and_uri<'t>(
        &mut self,
        field: Field<'t>,
        fields: &mut Fields<'t>,
    ) -> Result<(i32, Field<'t>), Problem> {
        let expected = "a whole number, then a SIP URI and flags, priority, attributes";
        let found = leading(field.text);
        if let Some(set) = found.alone() {
            let uri = fields.next(b"#");
            let place = SourcePosition::Line(self.line, fields.at + 1);
            let uri = uri.ok_or_else(|| Problem::error(place, "expected a SIP URI after the set id"))?;
            if set == ALL_SETS {
                self.problems.push(Problem::warning(self.place(field), OF_ALL_SETS));
            }
            return Ok((set, uri));
        }
        let uri = Field { text: found.rest, start: field.start + field.text.len() - found.rest.len() };
        let next_is_uri = fields.peek().is_some_and(|next| has_scheme(next.text));
        let is_uri =
            has_scheme(uri.text) || found.number.is_none() && uri.text.iter().any(|it| b".:[".contains(it));
        if found.cut || next_is_uri || !is_uri {
            let text = format!("set id {}: expected {expected}", shown(field.text));
            return Err(Problem::error(self.place(field), text));
        }
        let set = found.number.unwrap_or(0);
        let instead = format!("set {set} is in effect, and {} as the URI", shown(uri.text));
        self.mended(field, "set id", expected, instead);
        Ok((set, uri))
    }

    fn flags(&mut self, fields: &mut Fields<'_>) -> Flags {
        const EXPECTED: &str = "a whole number from 0 to 2147483647 (or hex, 0x…)";
        let Some(field) = fields.number() else { return Flags::default() };
        let hex = field.text.strip_prefix(b"0x").or_else(|| field.text.strip_prefix(b"0X"));
        let found = hex.and_then(hexadecimal).unwrap_or_else(|| leading(field.text));
        let flags = found.number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let rest = fields.rest_of_number(found.rest);
        if found.alone() != i32::try_from(flags).ok() {
            self.mended(field, "flags", EXPECTED, in_effect(flags, rest));
        }
        Flags(flags)
    }

    fn priority(&mut self, fields: &mut Fields<'_>) -> i32 {
        let Some(field) = fields.number() else { return 0 };
        let found = leading(field.text);
        let priority = found.number.unwrap_or(0);
        let rest = fields.rest_of_number(found.rest);
        if found.alone().is_none() {
            self.mended(field, "priority", WHOLE, in_effect(priority, rest));
        } else if priority < 0 {
            let text =
                format!("priority {priority} comes after 0 (the stock module reads it as 0 in a file)");
            self.problems.push(Problem::warning(self.place(field), text));
        }
        priority
    }
}

fn has_scheme(text: &[u8]) -> bool {
    let has =
        |scheme: &[u8]| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    has(b"sip:") || has(b"sips:")
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

fn looks_like_attributes(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic) && text.contains(&b'=')
}

struct Fields<'a> {
    line: &'a [u8],
    at: usize,
    /// How many numbers were read.
    numbers: usize,
}

impl<'a> Fields<'a> {
    /// Whether a number, or the end of the line, comes next; if not, whether it looks like attributes.
    fn at_number(&self) -> Result<(), bool> {
        match self.peek().map(|field| field.text) {
            None => Ok(()),
            Some(text) if leading(text).number.is_some() => Ok(()),
            Some(text) => Err(looks_like_attributes(text)),
        }
    }

    /// The next field, as a number.
    fn number(&mut self) -> Option<Field<'a>> {
        let field = self.next(b"#")?;
        self.numbers += 1;
        Some(field)
    }

    /// What stands at once behind a number that was read. Attributes are left for later, as in the stock module.
    fn rest_of_number(&mut self, rest: &'a [u8]) -> &'a [u8] {
        if looks_like_attributes(rest) {
            self.at -= rest.len();
            return &[];
        }
        rest
    }

    /// The next field, which stays for later.
    fn peek(&self) -> Option<Field<'a>> {
        Fields { ..*self }.next(b"#")
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
    use crate::dest::Severity;
    use proptest::prelude::*;

    fn one(line: &str) -> SourceLine<'_> {
        let (mut all, problems) = parse(line.as_bytes());
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    fn attrs(line: &str) -> (Vec<u8>, u32) {
        let one = one(line);
        let attrs = one.entry(true).unwrap().attrs;
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
        let (all, problems) = parse(b"1 sip:a\nx sip:b\n1 sip:c 0 0 x=y;obproxy=sip:p>\n1 sip:d\n");
        assert_eq!(problems.iter().map(|p| p.place).collect::<Vec<_>>(), [SourcePosition::Line(2, 1)]);
        let places = |good: bool| {
            let entries = all.iter().map(|line| line.entry(true)).filter(move |entry| entry.is_ok() == good);
            entries.map(|entry| entry.map_or_else(|p| p.place, |e| e.place)).collect::<Vec<_>>()
        };
        assert_eq!(places(true), [SourcePosition::Line(1, 3), SourcePosition::Line(4, 3)]);
        assert_eq!(places(false), [SourcePosition::Line(3, 17)]);
    }

    #[test]
    fn each_field_says_what_is_due() {
        assert_eq!(refused("1  # nothing").place, SourcePosition::Line(1, 4));
        for bad in ["x sip:a", "x", "99999999999 sip:a", "10.0.0.1:5060", "1x sip:a", "gw.test sip:a"] {
            let problem = refused(bad);
            assert_eq!(problem.place, SourcePosition::Line(1, 1));
            assert!(
                problem.text.contains("set id") && problem.text.contains("expected a whole number"),
                "{bad}"
            );
        }
    }

    /// The line as it is loaded, and what is told.
    fn mended(line: &str) -> (SourceLine<'_>, Vec<String>) {
        let (mut all, problems) = parse(line.as_bytes());
        assert_eq!(all.len(), 1, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.severity == Severity::Warning));
        (all.remove(0), problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn line_that_the_stock_module_loads_is_loaded_and_what_is_in_effect_is_told() {
        let flags = |line| {
            let (one, told) = mended(line);
            ((one.flags.0, one.priority, one.attrs.into_owned()), told)
        };
        let whole = "expected a whole number from 0 to 2147483647";
        for (line, flags_priority_attrs, told) in [
            ("1 sip:a -1", (0, 0, ""), format!("1:9: flags '-1': {whole} (or hex, 0x…); 0 is in effect (line loaded)")),
            ("1 sip:a 8x 5 b=c", (8, 5, "b=c"), format!("1:9: flags '8x': {whole} (or hex, 0x…); 8 is in effect, 'x' is ignored (line loaded)")),
            ("1 sip:a 0x1g", (1, 0, ""), format!("1:9: flags '0x1g': {whole} (or hex, 0x…); 1 is in effect, 'g' is ignored (line loaded)")),
            ("1 sip:a 0x", (0, 0, ""), format!("1:9: flags '0x': {whole} (or hex, 0x…); 0 is in effect, 'x' is ignored (line loaded)")),
            ("1 sip:a 0 10.5", (0, 10, ""), format!("1:11: priority '10.5': {whole}; 10 is in effect, '.5' is ignored (line loaded)")),
            ("1 sip:a 0 99999999999", (0, i32::MAX, ""), format!("1:11: priority '99999999999': {whole}; 2147483647 is in effect (line loaded)")),
            ("1 sip:a 0 -5", (0, -5, ""), "1:11: priority -5 comes after 0 (the stock module reads it as 0 in a file) (line loaded)".into()),
            ("1 sip:a 0 high", (0, 0, "high"), "1:11: priority 'high': expected a number, or attributes; it is taken for the attributes (line loaded)".into()),
            ("1 sip:a active", (0, 0, "active"), "1:9: flags 'active': expected a number, or attributes; it is taken for the attributes (line loaded)".into()),
            ("1 sip:a 8b=c", (8, 0, "b=c"), format!("1:9: flags '8b=c': {whole} (or hex, 0x…); 8 is in effect (line loaded)")),
        ] {
            let (found, lines) = flags(line);
            let (flags, priority, attrs) = flags_priority_attrs;
            assert_eq!(found, (flags, priority, attrs.as_bytes().to_vec()), "{line}");
            assert_eq!(lines, [told], "{line}");
        }
        assert_eq!(mended("-7 sip:a").0.set, -7);
        assert_eq!(mended("-7 sip:a").1, [""; 0]);
        assert!(mended("-1 sip:a").1[0].contains("ds_is_from_list"));
    }

    #[test]
    fn set_is_0_without_a_number_and_a_uri_may_follow_it_at_once() {
        let read = |line| {
            let (one, told) = mended(line);
            (one.set, String::from_utf8(one.uri.into_owned()).unwrap(), one.flags.0, told.len())
        };
        assert_eq!(read("sip:a 8"), (0, "sip:a".into(), 8, 1));
        assert_eq!(read("gw.test:5070 8"), (0, "gw.test:5070".into(), 8, 1));
        assert_eq!(read("7sip:a"), (7, "sip:a".into(), 0, 1));
        let told = "1:1: set id 'sip:a': expected a whole number, then a SIP URI and flags, priority, attributes; \
                    set 0 is in effect, and 'sip:a' as the URI (line loaded)";
        assert_eq!(mended("sip:a").1, [told]);
    }

    #[test]
    fn attributes_may_follow_without_flags_or_priority() {
        assert_eq!(attrs("1 sip:a duid=x;maxload=3").1, 3);
        let one = one("1 sip:a 8 duid=x#y # comment");
        assert_eq!((one.flags, &*one.entry(true).unwrap().attrs.duid), (Flags::PROBING, &b"x#y"[..]));
    }

    #[test]
    fn text_after_the_attributes_warns_and_loads() {
        let (all, problems) = parse(b"1 sip:a 0 0 duid=a; maxload=3");
        assert_eq!(all.len(), 1);
        assert_eq!(
            (problems[0].severity, problems[0].place),
            (Severity::Warning, SourcePosition::Line(1, 21))
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
            for problem in problems.into_iter().chain(all.iter().filter_map(|one| one.entry(true).err())) {
                let SourcePosition::Line(line, column) = problem.place else { panic!("{problem:?}") };
                prop_assert!(column <= lines[line - 1].len() + 1);
            }
        }
    }
}
