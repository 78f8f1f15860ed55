//! Rows of a database table as destinations: set id, destination, and as far as the table has them flags, priority,
//! attributes and further columns that are added to the attributes.
//!
//! Manual of the stock module: `db_url`, `setid_col` and the other columns, `ds_db_extra_attrs`.

use super::problem::{Place, shown};
use super::{Flags, Problem, Written};
use std::borrow::Cow;

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// None.
    Null,
    /// A number.
    Int(i64),
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
            Self::Text(text) => shown(text),
            Self::Other(kind) => format!("a {kind}"),
        }
    }

    /// A number from 0 to 2147483647; some databases give numbers as texts.
    fn whole(&self) -> Option<i32> {
        let number = match self {
            Self::Int(number) => *number,
            Self::Text(text) => core::str::from_utf8(text).ok()?.trim().parse().ok()?,
            Self::Null | Self::Other(_) => return None,
        };
        i32::try_from(number).ok().filter(|&number| number >= 0)
    }

    /// A text, or a number as one; empty for none.
    fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Null => Some(Cow::default()),
            Self::Int(number) => Some(number.to_string().into_bytes().into()),
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
    /// Reads `ds_db_extra_attrs`: `attribute=column;attribute=column`.
    pub fn parse_extra(text: &[u8]) -> Result<Vec<Extra>, String> {
        let part = |part: &[u8]| {
            let equal = part.iter().position(|&byte| byte == b'=')?;
            let (name, column) = part.split_at(equal);
            let (name, column) = (name.trim_ascii(), column.get(1..)?.trim_ascii());
            (!name.is_empty() && !column.is_empty()).then(|| (name.to_vec(), column.to_vec()))
        };
        let parts = text.split(|&byte| byte == b';').filter(|part| !part.trim_ascii().is_empty());
        parts
            .map(|text| part(text).ok_or_else(|| format!("{}: attribute=column is due", shown(text))))
            .collect()
    }

    /// All columns.
    pub fn all(&self) -> Vec<&[u8]> {
        let extra = self.extra.iter().map(|(_, column)| column.as_slice());
        self.names.iter().map(Vec::as_slice).chain(extra).collect()
    }

    /// Reads a row, whose values are in the order of [`Columns::all`].
    pub fn read(&self, number: usize, values: &[Value<'_>]) -> Result<Written<'static>, Problem> {
        let place = Place::Row(number);
        let at = |at: usize| values.get(at).copied().unwrap_or(Value::Null);
        let uri = at(1).text().unwrap_or_default();
        // A row has no line to be found by: the set and the destination tell which it is.
        let wrong = |column: &[u8], found: Value<'_>, due: &str| {
            let (set, uri, found) = (at(0).shown(), shown(&uri), found.shown());
            let column = String::from_utf8_lossy(column);
            Problem::error(place, format!("(set {set}, {uri}) {column} is {found}: {due} is due"))
        };
        let name = |at: usize| self.names.get(at).map_or(&[][..], Vec::as_slice);
        let whole = "a whole number from 0 to 2147483647";
        let set = at(0).whole().ok_or_else(|| wrong(name(0), at(0), whole))?;
        if uri.is_empty() {
            return Err(wrong(name(1), at(1), "a SIP URI"));
        }
        let number_or_0 = |column: usize| match at(column) {
            _ if column >= self.names.len() => Ok(0),
            Value::Null => Ok(0),
            value => value.whole().ok_or_else(|| wrong(name(column), value, whole)),
        };
        let (flags, priority) = (number_or_0(2)? as u32, number_or_0(3)?);
        let mut attrs = Vec::new();
        if self.names.len() > 4 {
            attrs = at(4).text().ok_or_else(|| wrong(name(4), at(4), "a text"))?.trim_ascii().to_vec();
        }
        for ((attribute, column), value) in self.extra.iter().zip(values.iter().skip(self.names.len())) {
            let text = value.text().ok_or_else(|| wrong(column, *value, "a text or a whole number"))?;
            if !text.is_empty() {
                let gap: &[u8] = if attrs.is_empty() || attrs.ends_with(b";") { b"" } else { b";" };
                attrs.extend([gap, attribute, b"=", &text].concat());
            }
        }
        let (uri, attrs) = (Cow::Owned(uri.into_owned()), Cow::Owned(attrs));
        Ok(Written { place, set, uri, flags: Flags(flags), priority, attrs, attrs_column: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dest::Attrs;

    fn columns(names: usize, extra: &str) -> Columns {
        let all = ["setid", "destination", "flags", "priority", "attrs"];
        Columns {
            names: all.iter().take(names).map(|name| name.as_bytes().to_vec()).collect(),
            extra: Columns::parse_extra(extra.as_bytes()).unwrap(),
        }
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.as_bytes())
    }

    #[test]
    fn a_row_is_a_destination_with_as_many_columns_as_the_table_has() {
        let five = columns(5, "");
        let row = [Value::Int(2), text("sip:a"), Value::Int(8), text("7"), text("duid=x;maxload=3;")];
        let row = five.read(1, &row).unwrap();
        let entry = row.entry().unwrap();
        assert_eq!((entry.set, entry.flags, entry.priority, entry.attrs.maxload), (2, Flags::PROBING, 7, 3));
        let two = columns(2, "").read(1, &[text("2"), text("sip:a")]).unwrap();
        assert_eq!((two.set, two.flags, two.priority), (2, Flags::default(), 0));
        let nulls = five.read(1, &[Value::Int(2), text("sip:a"), Value::Null, Value::Null, Value::Null]);
        assert_eq!(nulls.unwrap().entry().unwrap().attrs, Attrs::default());
    }

    #[test]
    fn further_columns_are_added_to_the_attributes() {
        let columns = columns(5, "socket=sock; pref = prefix ;");
        assert_eq!(columns.all().len(), 7);
        let row = |attrs, socket, prefix| {
            let values = [Value::Int(1), text("sip:a"), Value::Int(0), Value::Int(0), attrs, socket, prefix];
            columns.read(1, &values).unwrap().entry().unwrap().attrs.body.to_vec()
        };
        assert_eq!(row(text("duid=a"), text("udp:h:1"), Value::Int(49)), b"duid=a;socket=udp:h:1;pref=49");
        assert_eq!(row(Value::Null, Value::Null, Value::Int(49)), b"pref=49");
        assert_eq!(row(text("duid=a;"), text(""), text("x")), b"duid=a;pref=x");
        assert!(Columns::parse_extra(b"a=b;c").unwrap_err().contains("'c'"));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_row_column_and_destination() {
        let five = columns(5, "");
        let refused = |set, uri, flags, attrs| {
            let row = five.read(17, &[set, uri, flags, Value::Int(0), attrs]);
            row.and_then(|row| row.entry().map(drop)).unwrap_err().to_string()
        };
        assert_eq!(
            refused(Value::Int(-1), text("sip:a"), Value::Null, Value::Null),
            "row 17: (set -1, 'sip:a') setid is -1: a whole number from 0 to 2147483647 is due (row not loaded)"
        );
        assert!(refused(Value::Null, text("sip:a"), Value::Null, Value::Null).contains("setid is NULL"));
        assert!(
            refused(Value::Int(1), Value::Null, Value::Null, Value::Null).contains("destination is NULL")
        );
        assert!(refused(Value::Int(1), text("sip:a"), text("x"), Value::Null).contains("flags is 'x'"));
        assert!(
            refused(Value::Int(1), text("sip:a"), Value::Null, text("maxload=no")).contains("maxload='no'")
        );
        assert!(
            refused(Value::Int(1), text("sip:a"), Value::Null, Value::Other("date"))
                .contains("attrs is a date")
        );
    }
}
