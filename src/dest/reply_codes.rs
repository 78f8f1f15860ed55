//! Which replies to a probe are good: `ds_ping_reply_codes` and the attribute of that name.

use super::number::leading;
use super::problem::{in_effect, shown};

/// The replies that are good besides 2xx. A text is read once, not for each reply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplyCodes {
    /// Bit `n` for class `n`xx.
    classes: u8,
    codes: Vec<u16>,
}

/// What was found and expected, and what is in effect.
pub type Mended = (String, String);

const EXPECTED: &str = "expected code=100 to code=699 or class=1 to class=6";

impl ReplyCodes {
    /// Reads `code=404;class=3`, parted by `;` or `,`. A class may be written as its first code, `300`, too. As in the stock
    /// module, anything else has no effect; the operator is warned.
    pub fn read(text: &[u8]) -> (Self, Vec<Mended>) {
        let (mut all, mut mended) = (Self::default(), Vec::new());
        for part in text.split(|byte| b";,".contains(byte)).map(<[u8]>::trim_ascii) {
            if part.is_empty() {
                continue;
            }
            if let Err(instead) = all.take(part) {
                mended.push((format!("{}: {EXPECTED}", shown(part)), instead));
            }
        }
        (all, mended)
    }

    /// Takes in one part; what is in effect, if that is something else than what stands there.
    fn take(&mut self, part: &[u8]) -> Result<(), String> {
        let nothing = || "it has no effect".to_owned();
        let equal = part.iter().position(|&byte| byte == b'=').ok_or_else(nothing)?;
        let (name, value) = part.split_at(equal);
        let found = leading(value.get(1..).unwrap_or_default().trim_ascii());
        let number = found.number.and_then(|number| u16::try_from(number).ok()).ok_or_else(nothing)?;
        match (name.trim_ascii().to_ascii_lowercase().as_slice(), number) {
            (b"code", 100..700) => self.codes.push(number),
            (b"class", 1..7) => self.classes |= 1 << number,
            (b"class", 100 | 200 | 300 | 400 | 500 | 600) => self.classes |= 1 << (number / 100),
            _ => return Err(nothing()),
        }
        if found.rest.is_empty() { Ok(()) } else { Err(in_effect(number, found.rest)) }
    }

    /// Whether a reply with this code is good.
    pub fn accept(&self, code: u16) -> bool {
        is_of_class(self.classes, code) || self.codes.contains(&code)
    }

    /// As bytes, for shared memory: the classes, then each code in two bytes. Never empty.
    pub fn into_packed(self) -> Vec<u8> {
        let codes = self.codes.iter().flat_map(|code| code.to_ne_bytes());
        core::iter::once(self.classes).chain(codes).collect()
    }
}

/// Whether a reply with this code is good by what [`ReplyCodes::into_packed`] gave.
pub fn accepted(packed: &[u8], code: u16) -> bool {
    let (classes, codes) = packed.split_first().unwrap_or((&0, &[]));
    is_of_class(*classes, code) || codes.chunks_exact(2).any(|one| one == code.to_ne_bytes())
}

fn is_of_class(classes: u8, code: u16) -> bool {
    let class = code / 100;
    class == 2 || class < 8 && classes & (1 << class) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_codes_are_accepted_besides_2xx() {
        let (codes, mended) = ReplyCodes::read(b"class=3;code=404,Code=488; class=600;");
        assert_eq!(mended, []);
        let good = [200, 299, 302, 404, 488, 603];
        assert!(good.iter().all(|&code| codes.accept(code)));
        assert!([180, 403, 408, 500, 65535].iter().all(|&code| !codes.accept(code)));
        assert!(ReplyCodes::default().accept(202) && !ReplyCodes::default().accept(404));
        let packed = codes.clone().into_packed();
        assert!((0..1000).chain([65535]).all(|code| accepted(&packed, code) == codes.accept(code)));
        assert!(accepted(&[], 202) && !accepted(&ReplyCodes::default().into_packed(), 404));
    }

    #[test]
    fn what_is_no_code_has_no_effect_and_is_told() {
        for bad in [
            "code",
            "code=99",
            "code=700",
            "class=7",
            "class=250",
            "kode=200",
            "code=-1",
            "=200",
            "404",
            "200|404|486",
            "code=",
        ] {
            let (codes, mended) = ReplyCodes::read(format!("code=503;{bad};class=3").as_bytes());
            assert!(codes.accept(503) && codes.accept(302) && !codes.accept(404) && !codes.accept(486));
            let [(text, instead)] = mended.as_slice() else { panic!("{mended:?}") };
            assert!(text.contains(bad) && text.contains("class=6"), "{text}");
            assert_eq!(instead, "it has no effect");
        }
        let (codes, mended) = ReplyCodes::read(b"501,403,404,400,200");
        assert_eq!((codes, mended.len()), (ReplyCodes::default(), 5));
        let (codes, mended) = ReplyCodes::read(b"code=404x");
        assert!(codes.accept(404));
        assert_eq!(mended[0].1, "404 is in effect, 'x' is ignored");
    }
}
