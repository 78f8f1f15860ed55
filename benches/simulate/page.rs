//! `docs/balance.md` and its plots.

use super::keys;
use super::numbers::{number, whole};
use super::plot::{Bar, Ink, Plot, Shape};
use super::ramp;
use super::rules::Rule;
use super::world::{Case, Odd, Outcome};
use std::fmt::Write as _;
use std::fs;

/// What the figures say, with the figures that say it.
fn lessons(all: &[Of]) -> String {
    let named = |name: &str| all.iter().find(|(case, _)| case.name == name).expect("a case of this name");
    let of = |name: &str, rule: Rule, value: &dyn Fn(&Outcome) -> f64| {
        let (_, outcome) = named(name).1.iter().find(|(one, _)| *one == rule).expect("a rule of this case");
        number(value(outcome))
    };
    let most_out = |name: &str| named(name).1.iter().map(|(_, outcome)| outcome.most_out).max().unwrap_or(0);
    let (spread, lost) = (&|one: &Outcome| one.spread, &|one: &Outcome| one.lost);
    let (most, odd) = (&|one: &Outcome| one.set_up[1], &|one: &Outcome| one.to_odd);
    let (hash, turn, load, stays) = (Rule::Ours(0), Rule::Ours(4), Rule::Ours(10), Rule::Ours(101));
    let (sized, least, ejects) = (Rule::Ours(100), Rule::LeastWork, Rule::Passive(10));
    let slow = Rule::Slow(10);
    let (ramps, hot) = ("One returns, fifty calls a second", "Hot callers");
    let [alike, sizes, refuses, silent, returns, bursts] = [
        "Gateways alike",
        "Gateways of two sizes",
        "One refuses at once",
        "One is silent",
        "One returns",
        "Bursts",
    ];
    format!(
        "## What it says\n\n\
         - **Count calls** where they last differently long: the fullest gateway is {} % above all by algorithm 10, {} % in turn, {} % by a hash.\n\
         - **Gateways of different sizes** want 100 ({} %); 10 levels calls, not channels ({} %).\n\
         - **Who refuses at once looks idle**: {} % of all calls go there first by algorithm 10, and {} % to one that is silent, for which all but one in twenty calls \
         then take up to {} s. Nothing is lost with one more try, but each call pays for it. Let [failed calls weigh on](failed-calls.md) (here `ds_failure_decay` 10): then \
         {} % go to the one that refuses, and {} % to the one that is silent. Or take it out: with [`ds_passive_health`](passive-health.md) {} % go to it, {} % to \
         the silent one; or have a failure route report it ([`ds_mark_dst`](reference/functions.md#ds_mark_dst)).\n\
         - **What is nobody's fault ejects nobody**: where one call in five goes to a dead number {} of ten gateways are ejected at a time, where every gateway refuses one \
         INVITE in fifty {}, and {} where all refuse all: the [ceiling](passive-health.md#the-ceiling).\n\
         - **Who returns gets all new calls** by 10 and 100 until it is level ({} %), unless it has a [slow start](slow-start.md): then at most {} times its ramp in any five seconds, \
         and after that {} times its fair share, for {} s in all.\n\
         - **A hot key fills its gateway** by a hash: the fullest is {} % above all by 101, {} % with [`hash_balance`](reference/parameters.md#hash_balance) 10.\n\
         - **A hash gives the calls of one that fails to its neighbour**: {} % of all are lost by algorithm 0 where one refuses, {} % by 101.\n\
         - **Least work left** answers sooner than any rule that levels calls ({} s against {} s where calls come in bursts, all but one in twenty), \
         because a gateway here queues what it sets up; it loses more calls then ({} % against {} %).\n\n",
        of(alike, load, spread),
        of(alike, turn, spread),
        of(alike, hash, spread),
        of(sizes, sized, spread),
        of(sizes, load, spread),
        of(refuses, load, odd),
        of(silent, load, odd),
        of(silent, load, most),
        of(refuses, Rule::Weighing(10), odd),
        of(silent, Rule::Weighing(10), odd),
        of(refuses, ejects, odd),
        of(silent, ejects, odd),
        most_out("A dead number"),
        most_out("Calls that all refuse"),
        most_out("All refuse"),
        of(returns, load, odd),
        of(ramps, slow, &|one| ramp::figures(one)[0]),
        of(ramps, slow, &|one| ramp::figures(one)[1]),
        of(ramps, slow, &|one| ramp::figures(one)[2]),
        of(hot, stays, spread),
        of(hot, Rule::Bounded(10), spread),
        of(refuses, hash, lost),
        of(refuses, stays, lost),
        of(bursts, least, most),
        of(bursts, load, most),
        of(bursts, least, lost),
        of(bursts, load, lost),
    )
}

type Of = (Case, Vec<(Rule, Outcome)>);

/// Whether a case is about slow starts.
fn is_of_ramps(case: &Case) -> bool {
    case.rules.iter().any(|rule| matches!(rule, Rule::Slow(_)))
}

fn heads(case: &Case) -> Vec<&'static str> {
    if is_of_ramps(case) {
        return vec![
            "rule",
            "lost",
            "set up, 95 %",
            "most of its ramp, in 5 s",
            "most of a fair share after 60 s",
            "level after",
        ];
    }
    if case.odd.is_no_fault() {
        return vec![
            "rule",
            "lost",
            "most out at once",
            "INVITEs to the one with the fewest, of its share",
            "nowhere to go",
        ];
    }
    let mut heads = vec!["rule", "lost", "set up, half", "set up, 95 %", "fullest"];
    match case.odd {
        Odd::Returns => heads.push("to it, first 5 s"),
        odd if odd.is_gateway() => heads.extend(["to it first", "lost, first 60 s", "ejected after"]),
        _ => {}
    }
    heads
}

/// The cells of a row.
pub fn line(case: &Case, rule: Rule, outcome: &Outcome) -> Vec<String> {
    let Outcome { lost, set_up: [half, most], spread, to_odd, lost_first, out, .. } = outcome;
    if is_of_ramps(case) {
        let [ramp, share, level] = ramp::figures(outcome);
        return vec![
            rule.name(),
            format!("{} %", number(*lost)),
            format!("{} s", number(*most)),
            format!("{} ×", number(ramp)),
            format!("{} ×", number(share)),
            format!("{level} s"),
        ];
    }
    if case.odd.is_no_fault() {
        return vec![
            rule.name(),
            format!("{} %", number(*lost)),
            outcome.most_out.to_string(),
            format!("{} %", number(outcome.fewest)),
            format!("{} %", number(outcome.nowhere)),
        ];
    }
    let mut cells = vec![
        rule.name(),
        format!("{} %", number(*lost)),
        format!("{} s", number(*half)),
        format!("{} s", number(*most)),
        format!("+{} %", number(*spread)),
    ];
    if case.odd.is_gateway() {
        cells.push(format!("{} %", number(*to_odd)));
    }
    if matches!(case.odd, Odd::Refuses | Odd::Silent) {
        cells.push(format!("{} %", number(*lost_first)));
        cells.push(out.map_or_else(|| "–".into(), |out| format!("{} s", number(out))));
    }
    cells
}

const INTRODUCTION: &str = "# How even is it?

Written by `make simulate`: change the code in `benches/simulate/`, not this page.

The module's own code chooses, counts and releases for modelled gateways; no server and no network take part. A gateway has channels, holds one from the INVITE on, sets up
calls one after the other (0.28 s each in the mean for one of 100 channels, a BYE takes 1 ÷ 1.75 of that) and refuses at once when no channel is free. A call
that is refused, or not answered for five seconds, goes to another gateway: once, unless the case says otherwise. All chance comes from one seed: two runs give the same page.

- **lost**: calls that no gateway took.
- **set up**: time until the answer, of half of the calls and of all but one in twenty.
- **fullest**: how much fuller the fullest gateway is than all together, in percent of its channels, in the mean of all seconds.
- **most out at once**: gateways that are ejected or on trial at one time, at most.
- **passive health**: with `ds_passive_health` 1 and its defaults ([a gateway where calls fail](passive-health.md)). *Ejected after* is the time until the module takes a gateway out, in whole
  seconds.
- Each gateway's channels are its `maxload`, which 10 and 100 keep to, and its `weight`, by which 9 and 101 share. Rules that are not the module's stand beside its own: the stock
  module's algorithm 10 (among equals the first of the list), the power of two choices (Mitzenmacher, 2001), and the two rules that did best for a cluster of SIP servers in
  *Design, Implementation, and Performance of a Load Balancer for SIP Server Clusters* (Jiang et al., 2012): the fewest open transactions (TJSQ) and the least work left (TLWL).

";

fn bars(of: &Of, file: &str, title: &str, unit: &str, value: impl Fn(&Outcome) -> f64) -> Plot {
    let ink = |rule: Rule| if rule.is_ours() { Ink::Ours } else { Ink::Stock };
    let bar =
        |(rule, outcome): &(Rule, Outcome)| Bar { name: rule.name(), ink: ink(*rule), value: value(outcome) };
    let shape = Shape::Bars { unit: unit.into(), bars: of.1.iter().map(bar).collect(), mark: None };
    Plot { file: file.into(), title: title.into(), shape }
}

/// What is drawn of a case.
fn plot(of: &Of) -> Option<Plot> {
    Some(match of.0.name {
        "Gateways alike" => {
            bars(of, "alike", "Ten gateways alike: the fullest above all", "% of its channels", |one| {
                one.spread
            })
        }
        "Gateways of two sizes" => {
            bars(of, "sizes", "Gateways of 50 and of 200 channels: calls lost", "%", |one| one.lost)
        }
        "Bursts" => {
            bars(of, "bursts", "Bursts: set up of all but one in twenty", "seconds", |one| one.set_up[1])
        }
        "One refuses at once" => {
            bars(of, "refuses", "One of ten refuses at once: calls that go there first", "%", |one| {
                one.to_odd
            })
        }
        "One returns" => {
            bars(of, "returns", "One of ten returns: its part of new calls in the first 5 s", "%", |one| {
                one.to_odd
            })
        }
        _ => return None,
    })
}

pub fn write(all: &[Of]) {
    let mut page = INTRODUCTION.to_owned() + &lessons(all);
    fs::create_dir_all("docs/balance").expect("a folder for plots");
    for of in all {
        let (case, outcomes) = of;
        let _ = writeln!(page, "## {}\n\n{} {} calls.\n", case.name, case.about, whole(case.calls));
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let heads: Vec<String> = heads(case).into_iter().map(str::to_owned).collect();
        page += &row(&heads);
        page += &row(&vec!["---".to_owned(); heads.len()]);
        outcomes.iter().for_each(|(rule, outcome)| page += &row(&line(case, *rule, outcome)));
        page += "\n";
        if let (true, [(one, without), (two, with), ..]) = (is_of_ramps(case), &outcomes[..]) {
            let title = "Fifty calls a second to ten gateways, one returns: its part of new calls";
            fs::write("docs/balance/ramp.svg", ramp::picture(title, [(*one, without), (*two, with)]))
                .expect("a plot");
            let _ = writeln!(page, "![{title}](balance/ramp.svg)\n");
        }
        if let Some(plot) = plot(of) {
            fs::write(format!("docs/balance/{}.svg", plot.file), plot.svg()).expect("a plot");
            let _ = writeln!(page, "![{}](balance/{}.svg)\n", plot.title, plot.file);
        }
    }
    page += &keys::section();
    fs::write("docs/balance.md", page.trim_end().to_owned() + "\n").expect("the page");
}
