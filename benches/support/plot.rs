//! Plots as SVG, made from figures. They read well on a light and on a dark page.

use super::numbers::{number, whole};
use std::fmt::Write as _;

/// Whose colour something has: one for each module, in all plots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    Ours,
    Stock,
    LeanOne,
    LeanTwo,
    Plain,
}

impl Ink {
    fn class(self) -> &'static str {
        match self {
            Ink::Ours => "a",
            Ink::Stock => "b",
            Ink::LeanOne => "c",
            Ink::LeanTwo => "d",
            Ink::Plain => "e",
        }
    }
}

/// A line through points of size and figure.
pub struct Series {
    pub name: String,
    pub ink: Ink,
    pub dashed: bool,
    pub points: Vec<(f64, f64)>,
}

pub struct Bar {
    pub name: String,
    pub ink: Ink,
    pub value: f64,
}

pub enum Shape {
    /// Both axes grow by factors of ten.
    Lines { x: String, y: String, series: Vec<Series> },
    /// From zero; the mark is a value to compare with.
    Bars { unit: String, bars: Vec<Bar>, mark: Option<f64> },
}

pub struct Plot {
    /// The file, without `.svg`.
    pub file: String,
    pub title: String,
    pub shape: Shape,
}

/// The colours of [`Ink`]s on a light page and on a dark one.
const INKS: [(&str, &str, &str); 5] = [
    ("a", "#0969da", "#58a6ff"),
    ("b", "#bc4c00", "#ffa657"),
    ("c", "#1a7f37", "#56d364"),
    ("d", "#8250df", "#d2a8ff"),
    ("e", "#6e7781", "#9198a1"),
];

fn style() -> String {
    let inks = |colour: fn(&(&str, &'static str, &'static str)) -> &'static str| -> String {
        let rule = |ink: &(&str, &'static str, &'static str)| {
            format!(
                ".{0} path {{ stroke: {1} }} .{0} circle, .{0} rect {{ fill: {1} }}\n",
                ink.0,
                colour(ink)
            )
        };
        INKS.iter().map(rule).collect()
    };
    format!(
        "<style>\n\
         text {{ font: 13px system-ui, sans-serif; fill: #24292f }} .title {{ font-size: 15px; font-weight: 600 }}\n\
         .back {{ fill: #ffffff }} .soft {{ fill: #57606a }} .grid {{ stroke: #d8dee4 }}\n\
         .line {{ fill: none; stroke-width: 2.2 }} .dashed {{ stroke-dasharray: 6 4 }}\n\
         .mark {{ stroke: #24292f; stroke-dasharray: 3 3 }}\n{}\
         @media (prefers-color-scheme: dark) {{\n\
         text {{ fill: #e6edf3 }} .back {{ fill: #0d1117 }} .soft {{ fill: #9198a1 }} .grid {{ stroke: #2f353d }}\n\
         .mark {{ stroke: #e6edf3 }}\n{}}}\n</style>\n",
        inks(|ink| ink.1),
        inks(|ink| ink.2)
    )
}

const WIDTH: f64 = 860.0;
const TOP: f64 = 44.0;

impl Plot {
    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        match &self.shape {
            Shape::Lines { series, .. } => series.iter().all(|line| line.points.is_empty()),
            Shape::Bars { bars, .. } => bars.is_empty(),
        }
    }

    pub fn svg(&self) -> String {
        let (height, inside) = match &self.shape {
            Shape::Lines { x, y, series } => lines(x, y, series),
            Shape::Bars { unit, bars, mark } => bars_of(unit, bars, *mark),
        };
        framed(&self.title, height, &inside)
    }
}

/// What is drawn, with its title on a page of its own.
pub fn framed(title: &str, height: f64, inside: &str) -> String {
    let (title, style) = (escaped(title), style());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n{style}\
             <rect class=\"back\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n<text class=\"title\" x=\"16\" y=\"26\">{title}</text>\n{inside}</svg>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

/// The powers of ten around these values.
fn decades(values: impl Iterator<Item = f64> + Clone) -> (i32, i32) {
    let (low, high) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
    let (low, high) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (low, high.max(low + 1))
}

fn lines(x_name: &str, y_name: &str, series: &[Series]) -> (f64, String) {
    const HEIGHT: f64 = 400.0;
    const LEFT: f64 = 64.0;
    const RIGHT: f64 = 610.0;
    const BOTTOM: f64 = HEIGHT - 52.0;
    let points = || series.iter().flat_map(|line| &line.points).filter(|(_, y)| y.is_finite() && *y > 0.0);
    let (x_low, x_high) =
        points().fold((f64::INFINITY, 0.0_f64), |(low, high), (x, _)| (low.min(*x), high.max(*x)));
    let (low, high) = decades(points().map(|(_, y)| *y));
    let at_x = |x: f64| {
        LEFT + 14.0 + (x / x_low).log10() / (x_high / x_low).log10().max(0.1) * (RIGHT - LEFT - 28.0)
    };
    let at_y = |y: f64| BOTTOM - (y.log10() - f64::from(low)) / f64::from(high - low) * (BOTTOM - TOP - 22.0);
    let mut text = format!("<text class=\"soft\" x=\"16\" y=\"{}\">{}</text>\n", TOP + 8.0, escaped(y_name));
    for power in low..=high {
        let (value, y) = (10f64.powi(power), at_y(10f64.powi(power)));
        let label = if power >= 0 { whole(value as u64) } else { value.to_string() };
        let _ = writeln!(text, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
        let _ = writeln!(
            text,
            "<text class=\"soft\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    let mut sizes: Vec<f64> = points().map(|(x, _)| *x).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    for size in sizes {
        let label = whole(size as u64);
        let _ = writeln!(
            text,
            "<text class=\"soft\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            at_x(size),
            BOTTOM + 20.0
        );
    }
    let middle = (LEFT + RIGHT) / 2.0;
    let _ = writeln!(
        text,
        "<text class=\"soft\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        BOTTOM + 40.0,
        escaped(x_name)
    );
    for (at, line) in series.iter().enumerate() {
        let (class, dashed) = (line.ink.class(), if line.dashed { " dashed" } else { "" });
        let drawn = || {
            line.points.iter().filter(|(_, y)| y.is_finite() && *y > 0.0).map(|(x, y)| (at_x(*x), at_y(*y)))
        };
        let path: Vec<_> = drawn().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let key = TOP + 26.0 + 22.0 * at as f64;
        let _ =
            writeln!(text, "<g class=\"{class}\"><path class=\"line{dashed}\" d=\"M{}\"/>", path.join("L"));
        for (x, y) in drawn() {
            let _ = writeln!(text, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"/>");
        }
        let _ = writeln!(
            text,
            "<path class=\"line{dashed}\" d=\"M{} {key}h26\"/></g><text x=\"{}\" y=\"{}\">{}</text>",
            RIGHT + 16.0,
            RIGHT + 50.0,
            key + 4.0,
            escaped(&line.name)
        );
    }
    (HEIGHT, text)
}

fn bars_of(unit: &str, bars: &[Bar], mark: Option<f64>) -> (f64, String) {
    const LEFT: f64 = 300.0;
    const RIGHT: f64 = 770.0;
    const STEP: f64 = 26.0;
    let bottom = TOP + STEP * bars.len() as f64;
    let most = bars
        .iter()
        .map(|bar| bar.value)
        .filter(|value| value.is_finite())
        .chain(mark)
        .fold(0.0, f64::max)
        .max(1e-9);
    let width = |value: f64| (value / most).clamp(0.0, 1.0) * (RIGHT - LEFT);
    let mut text = String::new();
    for (at, bar) in bars.iter().enumerate() {
        let y = TOP + STEP * at as f64;
        let wide = if bar.value.is_finite() { width(bar.value) } else { 0.0 };
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><g class=\"{}\"><rect x=\"{LEFT}\" y=\"{}\" width=\"{wide:.1}\" height=\"16\" rx=\"2\"/></g><text x=\"{:.1}\" y=\"{}\">{}</text>",
            LEFT - 10.0,
            y + 17.0,
            escaped(&bar.name),
            bar.ink.class(),
            y + 4.0,
            LEFT + wide + 6.0,
            y + 17.0,
            number(bar.value)
        );
    }
    if let Some(mark) = mark {
        let x = LEFT + width(mark);
        let _ = writeln!(text, "<path class=\"mark\" d=\"M{x:.1} {TOP}V{bottom}\"/>");
    }
    let _ =
        writeln!(text, "<text class=\"soft\" x=\"{LEFT}\" y=\"{}\">{}</text>", bottom + 22.0, escaped(unit));
    (bottom + 36.0, text)
}
