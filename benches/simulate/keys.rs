//! What becomes of the keys of a hash when a gateway is down, is removed or is added.

use super::numbers::{number, whole};
use super::random::Random;
use super::rules::{Proxy, Rule, Wanted};

const KEYS: u64 = 200_000;
const FEW: usize = 6;
const MANY: usize = 100;
/// Channels of each gateway: a hash does not look at them.
const CHANNELS: u32 = 100;
const RULES: [Rule; 2] = [Rule::Ours(0), Rule::Ours(101)];

/// The gateway of each key.
fn places(proxy: &mut Proxy) -> Vec<usize> {
    let mut random = Random::new(16);
    let wanted = |key| Wanted { call: key, user: key, callee: key, tried: &[], now: 0.0 };
    (0..KEYS).map(|key| proxy.choose(wanted(key), &mut random).expect("some are up")).collect()
}

/// The cells of a row.
fn line(rule: Rule) -> [String; 4] {
    let of = |count: usize| Proxy::new(rule, &vec![CHANNELS; count]);
    let mut proxy = of(FEW);
    let before = places(&mut proxy);
    proxy.probed(0, false);
    let after = places(&mut proxy);
    let keys = |gateway: usize| after.iter().filter(|at| **at == gateway).count();
    let fullest = (0..FEW).map(keys).max().unwrap_or(0) as f64 * (FEW - 1) as f64 / KEYS as f64;
    let of_others = before.iter().zip(&after).filter(|(before, after)| **before != 0 && before != after);
    let (many, fewer) = (places(&mut of(MANY)), places(&mut of(MANY - 1)));
    let moved = many.iter().zip(&fewer).filter(|(many, fewer)| many != fewer).count();
    [
        rule.name(),
        format!("{} ×", number(fullest)),
        whole(of_others.count() as u64),
        format!("{} ×", number(moved as f64 * MANY as f64 / KEYS as f64)),
    ]
}

/// A section of the page.
pub fn section() -> String {
    let mut text = format!(
        "## Keys of a hash\n\n{} keys, gateways alike. First one of {FEW} is down, then one of {MANY} is removed, or added.\n\n\
         | rule | one of {FEW} down: the fullest, of an even share of all | keys of others that move | one of {MANY} removed or added: keys that move, of a hundredth |\n\
         | --- | --- | --- | --- |\n",
        whole(KEYS)
    );
    for rule in RULES {
        let cells = line(rule);
        println!("  {}", cells.join("  "));
        text += &format!("| {} |\n", cells.join(" | "));
    }
    text + "\n"
}
