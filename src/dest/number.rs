//! Numbers as configurations write them: the leading number counts, as in the stock module.

/// A number and the text behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leading<'t> {
    /// The number; `None` if the text does not begin with one. A number out of range becomes the largest or smallest.
    pub number: Option<i32>,
    /// Whether the number in the text was out of range.
    pub cut: bool,
    /// What stands behind it.
    pub rest: &'t [u8],
}

impl Leading<'_> {
    /// The number, where the text is one and nothing else.
    pub fn alone(&self) -> Option<i32> {
        self.number.filter(|_| self.rest.is_empty() && !self.cut)
    }
}

/// Reads the decimal number at the start of a text, with or without a sign.
pub fn leading(text: &[u8]) -> Leading<'_> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let len = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(len);
    if digits.is_empty() {
        return Leading { number: None, cut: false, rest: text };
    }
    let value = digits
        .iter()
        .fold(0i64, |value, digit| value.saturating_mul(10).saturating_add((digit - b'0').into()));
    let value = if negative { -value } else { value };
    let number = value.clamp(i32::MIN.into(), i32::MAX.into());
    Leading { number: i32::try_from(number).ok(), cut: number != value, rest }
}

/// The hexadecimal number at the start of a text; `None` where there is none.
pub fn hexadecimal(text: &[u8]) -> Option<Leading<'_>> {
    let len = text.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    let value = u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16);
    // Digits alone are no number only where there is none, or one too large.
    let value = if digits.is_empty() { return None } else { value.unwrap_or(u64::MAX) };
    let number = i32::try_from(value).unwrap_or(i32::MAX);
    Some(Leading { number: Some(number), cut: u64::try_from(number) != Ok(value), rest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_number_counts_and_the_rest_is_left() {
        let read = |text: &'static str| {
            let Leading { number, cut, rest } = leading(text.as_bytes());
            (number, cut, core::str::from_utf8(rest).unwrap())
        };
        assert_eq!(read("50,maxload=80"), (Some(50), false, ",maxload=80"));
        assert_eq!(read("10.5"), (Some(10), false, ".5"));
        assert_eq!(read("-7x"), (Some(-7), false, "x"));
        assert_eq!(read("+7"), (Some(7), false, ""));
        assert_eq!(read("007"), (Some(7), false, ""));
        for none in ["", "-", "+", "x1", "--1", " 1"] {
            assert_eq!(read(none), (None, false, none));
        }
        assert_eq!(read("2147483648"), (Some(i32::MAX), true, ""));
        assert_eq!(read("-99999999999999999999999x"), (Some(i32::MIN), true, "x"));
        assert_eq!(leading(b"-2147483648").alone(), Some(i32::MIN));
        assert_eq!(leading(b"2147483648").alone(), None);
    }
}
