//! Which replies to a probe are good: `ds_ping_reply_codes` and the attribute of that name.

use super::problem::shown;

/// What is accepted besides 2xx.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplyCodes {
    /// Bit `n` for class `n`xx.
    classes: u8,
    codes: Vec<u16>,
}

impl ReplyCodes {
    /// Reads `code=404;class=3`, parted by `;` or `,`. A class may be written as its first code, `300`, too.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut all = Self::default();
        for part in text.split(|byte| b";,".contains(byte)).map(<[u8]>::trim_ascii) {
            if part.is_empty() {
                continue;
            }
            let bad = || format!("{}: code=100 to code=699 or class=1 to class=6 is due", shown(part));
            let equal = part.iter().position(|&byte| byte == b'=').ok_or_else(bad)?;
            let (name, value) = part.split_at(equal);
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let number: u16 =
                core::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
            match (name.trim_ascii().to_ascii_lowercase().as_slice(), number) {
                (b"code", 100..700) => all.codes.push(number),
                (b"class", 1..7) => all.classes |= 1 << number,
                (b"class", 100 | 200 | 300 | 400 | 500 | 600) => all.classes |= 1 << (number / 100),
                _ => return Err(bad()),
            }
        }
        Ok(all)
    }

    /// Whether a reply with this code is good.
    pub fn accept(&self, code: u16) -> bool {
        let class = code / 100;
        class == 2 || class < 8 && self.classes & (1 << class) != 0 || self.codes.contains(&code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_codes_are_accepted_besides_2xx() {
        let codes = ReplyCodes::parse(b"class=3;code=404,Code=488; class=600;").unwrap();
        let good = [200, 299, 302, 404, 488, 603];
        assert!(good.iter().all(|&code| codes.accept(code)));
        assert!([180, 403, 408, 500, 65535].iter().all(|&code| !codes.accept(code)));
        assert!(ReplyCodes::default().accept(202) && !ReplyCodes::default().accept(404));
    }

    #[test]
    fn what_is_no_code_is_told() {
        for bad in ["code", "code=99", "code=700", "class=7", "class=250", "kode=200", "code=-1", "=200"] {
            let error = ReplyCodes::parse(bad.as_bytes()).unwrap_err();
            assert!(error.contains(bad) && error.contains("class=6"), "{error}");
        }
    }
}
