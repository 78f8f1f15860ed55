//! Rows of a database table as destinations: set id, destination, and as far as the table has them flags, priority,
//! attributes and further columns that are added to the attributes.
//!
//! Manual of the stock module: `db_url`, `setid_col` and the other columns, `ds_db_extra_attrs`.

use super::number::leading;
use super::problem::{ALL_SETS, OF_ALL_SETS, SourcePosition, in_effect, shown};
use super::{Flags, Problem, SourceLine};
use std::borrow::Cow;

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// A number.
    Int(i64),
    /// A number that may have a fraction.
    Real(f64),
    /// A text.
    Text(&'a [u8]),
    /// Something else, by the database's name for it.
    Other(&'static str),
}

impl<'a> Value<'a> {
    fn shown(&self) -> String {
        match self {
            Self::Null => "NULL".into(),
            Self::Int(number) => number.to_string(),
            Self::Real(number) => number.to_string(),
            Self::Text(text) => shown(text),
            Self::Other(kind) => format!("a {kind}"),
        }
    }

    /// The value as a whole number; with a text about what is in effect if it had to be corrected. Some databases give numbers as
    /// texts. NULL is 0, as in the stock module. `None` if it is no number, or out of range.
    fn whole(self) -> Option<(i32, Option<String>)> {
        Some(match self {
            Self::Int(number) => (i32::try_from(number).ok()?, None),
            Self::Real(number) => {
                let whole = number.trunc();
                let fits = whole >= f64::from(i32::MIN) && whole <= f64::from(i32::MAX);
                let whole = if fits { whole as i32 } else { return None };
                (whole, (number.fract() != 0.0).then(|| in_effect(whole, &[])))
            }
            Self::Text(text) => {
                let found = leading(text.trim_ascii());
                let number = found.number.filter(|_| !found.cut)?;
                (number, (!found.rest.is_empty()).then(|| in_effect(number, found.rest)))
            }
            Self::Null => (0, Some(in_effect(0, &[]))),
            Self::Other(_) => return None,
        })
    }

    /// A text, or a number as one; empty for none.
    fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Null => Some(Cow::default()),
            Self::Int(number) => Some(number.to_string().into_bytes().into()),
            Self::Real(number) => Some(number.to_string().into_bytes().into()),
            Self::Text(text) => Some(text.into()),
            Self::Other(_) => None,
        }
    }
}

/// An attribute and the column that it comes from.
pub type Extra = (Vec<u8>, Vec<u8>);

/// The columns that are read, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Set id, destination, flags, priority, attributes: as many as the table's version has.
    pub names: Vec<Vec<u8>>,
    /// Further columns.
    pub extra: Vec<Extra>,
}

impl Columns {
    /// Reads `ds_db_extra_attrs`: `attribute=column;attribute=column`; with a warning about what has no effect.
    ///
    /// As in the stock module, two letters say nothing, and nothing counts behind a comma.
    pub fn parse_extra(text: &[u8]) -> Result<(Vec<Extra>, Option<String>), String> {
        if text.len() <= 2 {
            return Ok((Vec::new(), (!text.is_empty()).then(|| "no further column is read".into())));
        }
        let (text, rest) = text.split_at(text.iter().position(|&byte| byte == b',').unwrap_or(text.len()));
        let part = |part: &[u8]| {
            let equal = part.iter().position(|&byte| byte == b'=')?;
            let (name, column) = part.split_at(equal);
            let (name, column) = (name.trim_ascii(), column.get(1..)?.trim_ascii());
            (!name.is_empty() && !column.is_empty()).then(|| (name.to_vec(), column.to_vec()))
        };
        let parts = text.split(|&byte| byte == b';').filter(|part| !part.trim_ascii().is_empty());
        let all: Result<_, _> = parts
            .map(|text| part(text).ok_or_else(|| format!("{}: expected attribute=column", shown(text))))
            .collect();
        Ok((
            all?,
            (!rest.is_empty()).then(|| format!("{} is in effect, {} is ignored", shown(text), shown(rest))),
        ))
    }

    /// All columns.
    pub fn all(&self) -> Vec<&[u8]> {
        let extra = self.extra.iter().map(|(_, column)| column.as_slice());
        self.names.iter().map(Vec::as_slice).chain(extra).collect()
    }

    /// Reads a row, whose values are in the order of [`Columns::all`]. Corrections are added to `problems`.
    pub fn read(
        &self,
        number: usize,
        values: &[Value<'_>],
        problems: &mut Vec<Problem>,
    ) -> Result<SourceLine<'static>, Problem> {
        let place = SourcePosition::Row(number);
        let at = |at: usize| values.get(at).copied().unwrap_or(Value::Null);
        let uri = at(1).text().unwrap_or_default();
        // A row has no line to be found by: the set and the destination tell which it is.
        let row = || format!("(set {}, {})", at(0).shown(), shown(&uri));
        let told = |column: &[u8], found: Value<'_>, expected: &str| {
            let (column, found) = (column.escape_ascii(), found.shown());
            format!("{} {column} is {found}: expected {expected}", row())
        };
        let name = |at: usize| self.names.get(at).map_or(&[][..], Vec::as_slice);
        let mut whole = |column: usize, expected: &str, null_is_right: bool| {
            let value = at(column);
            if column >= self.names.len() || null_is_right && value == Value::Null {
                return Ok(0);
            }
            let text = || told(name(column), value, expected);
            let (number, instead) = value.whole().ok_or_else(|| Problem::error(place, text()))?;
            problems.extend(instead.map(|instead| Problem::mended(place, text(), instead)));
            Ok(number)
        };
        let set = whole(0, WHOLE, false)?;
        if uri.is_empty() {
            return Err(Problem::error(place, told(name(1), at(1), "a SIP URI")));
        }
        let flags = whole(2, NOT_NEGATIVE, true)?;
        let priority = whole(3, WHOLE, true)?;
        if flags < 0 {
            let text = told(name(2), at(2), NOT_NEGATIVE);
            problems.push(Problem::mended(place, text, "all its bits are in effect"));
        }
        if set == ALL_SETS {
            problems.push(Problem::warning(place, format!("{} {OF_ALL_SETS}", row())));
        }
        let mut attrs = Vec::new();
        if self.names.len() > 4 {
            let text = at(4).text();
            let text = text.ok_or_else(|| Problem::error(place, told(name(4), at(4), "a text")))?;
            attrs = text.trim_ascii().to_vec();
        }
        for ((attribute, column), value) in self.extra.iter().zip(values.iter().skip(self.names.len())) {
            let text = value
                .text()
                .ok_or_else(|| Problem::error(place, told(column, *value, "a text or a whole number")))?;
            if !text.is_empty() {
                let gap: &[u8] = if attrs.is_empty() || attrs.ends_with(b";") { b"" } else { b";" };
                attrs.extend([gap, attribute, b"=", &text].concat());
            }
        }
        if on_one_line(&mut attrs) {
            let text = format!("{} attributes: expected one line", row());
            problems.push(Problem::mended(
                place,
                text,
                "blanks are in effect for line breaks and tabulators",
            ));
        }
        if uri.trim_ascii() != &*uri {
            let instead = in_effect(shown(uri.trim_ascii()), &[]);
            let text = told(name(1), at(1), "no blanks around it");
            problems.push(Problem::mended(place, text, instead));
        }
        let uri = Cow::Owned(uri.trim_ascii().to_vec());
        Ok(SourceLine {
            place,
            set,
            uri,
            flags: Flags(flags as u32),
            priority,
            attrs: Cow::Owned(attrs),
            attrs_column: 0,
        })
    }
}

const WHOLE: &str = "a whole number from -2147483648 to 2147483647";
const NOT_NEGATIVE: &str = "a whole number from 0 to 2147483647";

/// Makes blanks of line breaks and tabulators; whether there were any. A script may write attributes into a header.
pub fn on_one_line(attrs: &mut [u8]) -> bool {
    let mut found = false;
    for byte in attrs.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n' | b'\t')) {
        (*byte, found) = (b' ', true);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dest::Attrs;

    fn columns(names: usize, extra: &str) -> Columns {
        let all = ["setid", "destination", "flags", "priority", "attrs"];
        Columns {
            names: all.iter().take(names).map(|name| name.as_bytes().to_vec()).collect(),
            extra: Columns::parse_extra(extra.as_bytes()).unwrap().0,
        }
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.as_bytes())
    }

    #[test]
    fn a_row_is_a_destination_with_as_many_columns_as_the_table_has() {
        let five = columns(5, "");
        let row = [Value::Int(2), text("sip:a"), Value::Int(8), text("7"), text("duid=x;maxload=3;")];
        let row = read(&five, &row).unwrap();
        let entry = row.entry(true).unwrap();
        assert_eq!((entry.set, entry.flags, entry.priority, entry.attrs.maxload), (2, Flags::PROBING, 7, 3));
        let two = read(&columns(2, ""), &[text("2"), text("sip:a")]).unwrap();
        assert_eq!((two.set, two.flags, two.priority), (2, Flags::default(), 0));
        let nulls = read(&five, &[Value::Int(2), text("sip:a"), Value::Null, Value::Null, Value::Null]);
        assert_eq!(nulls.unwrap().entry(true).unwrap().attrs, Attrs::default());
    }

    #[test]
    fn further_columns_are_added_to_the_attributes() {
        let columns = columns(5, "socket=sock; pref = prefix ;");
        assert_eq!(columns.all().len(), 7);
        let row = |attrs, socket, prefix| {
            let values = [Value::Int(1), text("sip:a"), Value::Int(0), Value::Int(0), attrs, socket, prefix];
            read(&columns, &values).unwrap().entry(true).unwrap().attrs.body.to_vec()
        };
        assert_eq!(row(text("duid=a"), text("udp:h:1"), Value::Int(49)), b"duid=a;socket=udp:h:1;pref=49");
        assert_eq!(row(Value::Null, Value::Null, Value::Int(49)), b"pref=49");
        assert_eq!(row(text("duid=a;"), text(""), text("x")), b"duid=a;pref=x");
        assert!(Columns::parse_extra(b"a=b;c").unwrap_err().contains("'c'"));
    }

    /// A row in which nothing is told.
    fn read(columns: &Columns, values: &[Value<'_>]) -> Result<SourceLine<'static>, Problem> {
        let mut problems = Vec::new();
        let row = columns.read(1, values, &mut problems);
        assert_eq!(problems, []);
        row
    }

    #[test]
    fn further_columns_end_at_a_comma_and_two_letters_say_nothing() {
        let parse = |text: &str| Columns::parse_extra(text.as_bytes());
        assert_eq!(parse(""), Ok((vec![], None)));
        assert_eq!(parse("a").unwrap().1.unwrap(), "no further column is read");
        let (extra, instead) = parse("a=b,c=d").unwrap();
        assert_eq!(extra, [(b"a".to_vec(), b"b".to_vec())]);
        assert_eq!(instead.unwrap(), "'a=b' is in effect, ',c=d' is ignored");
        assert!(parse("abc").unwrap_err().contains("'abc': expected attribute=column"));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_row_column_and_destination() {
        let five = columns(5, "");
        let refused = |set, uri, flags, attrs| {
            let row = five.read(17, &[set, uri, flags, Value::Int(0), attrs], &mut Vec::new());
            row.and_then(|row| row.entry(true).map(drop)).unwrap_err().to_string()
        };
        let whole = "expected a whole number from -2147483648 to 2147483647";
        assert_eq!(
            refused(Value::Int(1 << 31), text("sip:a"), Value::Null, Value::Null),
            format!("row 17: (set 2147483648, 'sip:a') setid is 2147483648: {whole} (row not loaded)")
        );
        assert!(refused(text("x"), text("sip:a"), Value::Null, Value::Null).contains("setid is 'x'"));
        assert!(
            refused(Value::Int(1), Value::Null, Value::Null, Value::Null).contains("destination is NULL")
        );
        assert!(refused(Value::Int(1), text("sip:a"), text("x"), Value::Null).contains("flags is 'x'"));
        assert!(
            refused(Value::Int(1), text("sip:a"), Value::Null, text("obproxy=sip:p>"))
                .contains("obproxy='sip:p>'")
        );
        assert!(refused(Value::Int(1), text("sip:a"), Value::Null, text("a=\x07")).contains("0x07"));
        assert!(
            refused(Value::Int(1), text("sip:a"), Value::Null, Value::Other("date"))
                .contains("attrs is a date")
        );
    }

    #[test]
    fn row_that_the_stock_module_loads_is_loaded_and_what_is_in_effect_is_told() {
        let five = columns(5, "");
        let read = |values: [Value<'_>; 5]| {
            let mut problems = Vec::new();
            let row = five.read(17, &values, &mut problems).unwrap();
            let told: Vec<_> = problems.iter().map(Problem::told).collect();
            ((row.set, row.uri.into_owned(), row.flags.0, row.priority, row.attrs.into_owned()), told)
        };
        let uri = || b"sip:a".to_vec();
        let negative = read([Value::Int(-7), text("sip:a"), Value::Int(0), text("-3"), Value::Null]);
        assert_eq!(negative, ((-7, uri(), 0, -3, vec![]), vec![]));
        let (row, told) =
            read([Value::Null, text(" sip:a "), text("8x"), Value::Real(10.5), text("a=b\r\n;c=d")]);
        assert_eq!(row, (0, uri(), 8, 10, b"a=b  ;c=d".to_vec()));
        let instead: Vec<_> = told.iter().map(|it| it.split_once("; ").unwrap().1).collect();
        assert_eq!(
            instead,
            [
                "0 is in effect",
                "8 is in effect, 'x' is ignored",
                "10 is in effect",
                "blanks are in effect for line breaks and tabulators",
                "'sip:a' is in effect"
            ]
        );
        let (row, told) = read([Value::Int(1), text("sip:a"), Value::Int(-1), Value::Null, Value::Null]);
        assert_eq!((row.2, told.len()), (u32::MAX, 1));
    }
}
