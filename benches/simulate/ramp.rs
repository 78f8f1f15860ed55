//! What a gateway that returns gets, window by window: figures and a picture.

use super::plot::framed;
use super::rules::{RAMP, Rule};
use super::world::{Outcome, RETURN};
use std::fmt::Write as _;

/// The part of its fair share that a slow start lets it have, in the mean of a window.
fn ramp(window: usize) -> f64 {
    let middle = (window as f64 + 0.5) * RETURN / f64::from(RAMP);
    (0.1 + 0.9 * middle).min(1.0)
}

/// Its part of a window's calls, as parts of a tenth.
fn of_share((had, all): (u64, u64)) -> f64 {
    10.0 * had as f64 / all.max(1) as f64
}

/// The most that it had in a window of the ramp, by what the ramp is; and after that by its fair share, until it was level. And the seconds
/// until then.
pub fn figures(outcome: &Outcome) -> [f64; 3] {
    let end = RAMP as usize / RETURN as usize;
    let shares = || outcome.windows.iter().map(|one| of_share(*one)).enumerate();
    let most = |all: &mut dyn Iterator<Item = f64>| all.fold(0.0, f64::max);
    let on_ramp = most(&mut shares().take(end).map(|(window, share)| share / ramp(window)));
    let level = outcome.level.max(end) + 1;
    let after = most(&mut shares().take(level).skip(end).map(|(_, share)| share));
    [on_ramp, after, outcome.level as f64 * RETURN]
}

/// Percent of new calls by seconds after the return, of two rules.
pub fn picture(title: &str, of: [(Rule, &Outcome); 2]) -> String {
    const LEFT: f64 = 64.0;
    const RIGHT: f64 = 610.0;
    const TOP: f64 = 62.0;
    const BOTTOM: f64 = 318.0;
    const SECONDS: f64 = 120.0;
    let x = |seconds: f64| LEFT + seconds / SECONDS * (RIGHT - LEFT);
    let y = |percent: f64| BOTTOM - percent / 100.0 * (BOTTOM - TOP);
    let mut text = format!("<text class=\"soft\" x=\"16\" y=\"{}\">% of new calls</text>\n", TOP - 10.0);
    for percent in [0.0, 10.0, 20.0, 50.0, 100.0] {
        let at = y(percent);
        let _ = writeln!(text, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>");
        let _ = writeln!(
            text,
            "<text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{percent}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for seconds in [0.0, 30.0, 60.0, 90.0, 120.0] {
        let _ = writeln!(
            text,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{seconds} s</text>",
            x(seconds),
            BOTTOM + 20.0
        );
    }
    for (at, (rule, outcome)) in of.into_iter().enumerate() {
        let class = ["b", "a"][at];
        let points = outcome.windows.iter().enumerate().take((SECONDS / RETURN) as usize);
        let steps = points.map(|(window, one)| {
            let (from, to) = (x(window as f64 * RETURN), x((window as f64 + 1.0) * RETURN));
            let height = y(10.0 * of_share(*one));
            format!("{from:.1} {height:.1}L{to:.1} {height:.1}")
        });
        let path = steps.collect::<Vec<_>>().join("L");
        let key = TOP + 12.0 + 22.0 * at as f64;
        let _ = writeln!(
            text,
            "<g class=\"{class}\"><path class=\"line\" d=\"M{path}\"/><path class=\"line\" d=\"M{} {key}h26\"/></g><text x=\"{}\" y=\"{}\">{}</text>",
            RIGHT + 16.0,
            RIGHT + 50.0,
            key + 4.0,
            rule.name()
        );
    }
    framed(title, BOTTOM + 40.0, &text)
}
