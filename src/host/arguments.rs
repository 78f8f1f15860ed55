//! The arguments of an RPC command: what a command declares, what a call gives, and the usage that says the first to whoever
//! gives something else.

use super::script::{Argument, Kind};
use core::fmt;

/// What a command declares.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// The name of the command.
    pub name: &'static str,
    /// All arguments, in their order.
    pub arguments: &'static [Argument],
    /// How many of them a call must give.
    pub required: usize,
}

/// An argument as the transport gives it: some know numbers from texts, others have texts only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A number.
    Int(i32),
    /// A text.
    Text(Vec<u8>),
}

/// Why a call cannot be answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Arguments are missing.
    Few,
    /// This argument should be a whole number and is this text.
    NoNumber(&'static str, Vec<u8>),
    /// The argument at this position is neither text nor number.
    NoValue(usize),
}

impl Signature {
    /// Checks what a call gives. Arguments beyond those declared were not read, as in the stock module.
    pub fn check(&self, given: Vec<Given>) -> Result<Vec<Given>, Wrong> {
        if given.len() < self.required {
            return Err(Wrong::Few);
        }
        let check = |(declared, given): (&Argument, Given)| match (declared.kind, given) {
            (Kind::Int, Given::Text(text)) => match number(&text) {
                Some(number) => Ok(Given::Int(number)),
                None => Err(Wrong::NoNumber(declared.name, text)),
            },
            (Kind::Text, Given::Int(number)) => Ok(Given::Text(number.to_string().into_bytes())),
            (_, fits) => Ok(fits),
        };
        self.arguments.iter().zip(given).map(check).collect()
    }

    /// The answer to a caller whose arguments are wrong.
    pub fn told(&self, wrong: &Wrong) -> String {
        /// Bytes of an argument that an answer shows.
        const SHOWN: usize = 60;
        match wrong {
            Wrong::Few => format!("Usage: {self}"),
            Wrong::NoNumber(name, text) => {
                let shown = text.get(..SHOWN).unwrap_or(text).escape_ascii();
                format!("{name} '{shown}' is not a whole number. Usage: {self}")
            }
            Wrong::NoValue(at) => {
                format!("argument {} is neither text nor number. Usage: {self}", at + 1)
            }
        }
    }
}

/// A whole number in a text, also in hex. The host writes negative numbers as if they had no sign.
fn number(text: &[u8]) -> Option<i32> {
    let text = core::str::from_utf8(text).ok()?.trim();
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => i64::from_str_radix(hex, 16).ok()?,
        Some(_) => return None,
        None => text.parse::<i64>().or_else(|_| text.parse::<u64>().map(|wrapped| wrapped as i64)).ok()?,
    };
    i32::try_from(number).ok()
}

/// The name with its arguments, those in brackets that a call need not give.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        for (at, argument) in self.arguments.iter().enumerate() {
            let open = if at < self.required { "" } else { "[" };
            write!(f, " {open}{}", argument.name)?;
        }
        let optional = self.arguments.len().saturating_sub(self.required);
        write!(f, "{}", "]".repeat(optional))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn argument(name: &'static str, kind: Kind) -> Argument {
        Argument { name, kind }
    }

    const ADD: Signature = Signature {
        name: "dispatcher.add",
        arguments: &[
            argument("set", Kind::Int),
            argument("uri", Kind::Text),
            argument("flags", Kind::Int),
            argument("attributes", Kind::Text),
        ],
        required: 2,
    };

    fn text(text: &str) -> Given {
        Given::Text(text.into())
    }

    #[test]
    fn usage_has_brackets_around_what_need_not_be_given() {
        assert_eq!(ADD.told(&Wrong::Few), "Usage: dispatcher.add set uri [flags [attributes]]");
        let none = Signature { name: "dispatcher.reload", arguments: &[], required: 0 };
        assert_eq!(none.to_string(), "dispatcher.reload");
    }

    #[test]
    fn numbers_come_as_numbers_or_as_texts() {
        let read = |given| ADD.check(vec![given, text("sip:a")]).map(|all| all[0].clone());
        for (given, due) in [
            (Given::Int(-7), -7),
            (text("7"), 7),
            (text(" -7 "), -7),
            (text("0x1F"), 31),
            (text("18446744073709551609"), -7),
        ] {
            assert_eq!(read(given.clone()), Ok(Given::Int(due)), "{given:?}");
        }
        for bad in ["", "x", "1.5", "7x", "0x", "0x-1", "2147483648", "18446744069414584319", "--7"] {
            assert_eq!(read(text(bad)), Err(Wrong::NoNumber("set", bad.into())), "{bad}");
        }
        assert_eq!(
            ADD.told(&read(text("x\n")).unwrap_err()),
            "set 'x\\n' is not a whole number. Usage: dispatcher.add set uri [flags [attributes]]"
        );
    }

    #[test]
    fn a_number_in_the_place_of_a_text_is_a_text() {
        assert_eq!(ADD.check(vec![Given::Int(1), Given::Int(-5060)]).unwrap()[1], text("-5060"));
    }

    #[test]
    fn too_few_arguments_are_told() {
        assert_eq!(ADD.check(vec![]), Err(Wrong::Few));
        assert_eq!(ADD.check(vec![Given::Int(1)]), Err(Wrong::Few));
        assert_eq!(ADD.check(vec![Given::Int(1), text("sip:a")]).map(|all| all.len()), Ok(2));
    }
}
