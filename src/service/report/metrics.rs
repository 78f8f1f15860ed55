//! The metrics of each destination, for a monitoring system.

use crate::dest::Flags;
use crate::select::Refusal;
use crate::shm::Alloc;
use crate::state::{Member, Record, Root, Set, capacities};
use core::fmt::{Display, Write};
use std::collections::HashSet;

/// A figure of a destination.
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Its value.
    of: fn(&Member<'_>, &Seen<'_>) -> u64,
}

/// A destination at one moment, read once, so that its figures fit together.
pub struct Seen<'a> {
    record: &'a Record,
    flags: Flags,
    /// When its state changed last, in milliseconds of the wall clock.
    changed: u64,
    /// Selections that found no room in its set while it was up.
    refused: u64,
    /// Somebody follows what becomes of calls there.
    followed: bool,
}

impl<'a> Seen<'a> {
    /// Looks at a destination of this set.
    pub fn of<A: Alloc>(root: &Root<A>, set: &Set<A>, one: Member<'_>, record: &'a Record) -> Self {
        let (flags, health) = record.state();
        let followed = root.registry.ejection(one.record, |_| ()).is_some();
        Self { record, flags, changed: health.changed, refused: set.ranks.refused(record), followed }
    }
}

/// All figures. Those with a name that ends with `_total` only grow while the destination exists.
pub const FIGURES: [Figure; 19] = [
    Figure { name: "up", about: "Whether calls go to it.", of: |_, seen| seen.flags.usable().into() },
    Figure {
        name: "disabled",
        about: "Whether an operator disabled it.",
        of: |_, seen| seen.flags.has(Flags::DISABLED).into(),
    },
    Figure {
        name: "draining",
        about: "Whether it gets no new calls because it is drained.",
        of: |_, seen| seen.flags.has(Flags::DRAINING).into(),
    },
    Figure {
        name: "ejected",
        about: "Whether it is ejected, or on trial after that.",
        of: |_, seen| seen.flags.in_ejection().into(),
    },
    Figure {
        name: "ejections_total",
        about: "How often it was ejected because calls failed there.",
        of: |_, seen| seen.record.totals.ejections.get(),
    },
    Figure {
        name: "probing",
        about: "Whether it has the probing flag.",
        of: |_, seen| seen.flags.has(Flags::PROBING).into(),
    },
    Figure {
        name: "load",
        about: "Calls that count for it now.",
        of: |_, seen| seen.record.load.get().into(),
    },
    Figure {
        name: "maxload",
        about: "Calls that it may have at the same time; 0 is no limit.",
        of: |one, _| one.maxload.into(),
    },
    Figure {
        name: "maxload_reserve",
        about: "Calls with priority that it takes beyond that.",
        of: |one, _| one.limits.maxload_reserve.into(),
    },
    Figure {
        name: "latency_milliseconds",
        about: "Estimate of how long it takes to answer probes; 0 is not known.",
        of: |_, seen| seen.record.latency().into(),
    },
    Figure {
        name: "changed_timestamp_seconds",
        about: "When its state changed last; 0 is never.",
        of: |_, seen| seen.changed / 1000,
    },
    Figure {
        name: "selected_total",
        about: "Requests that were sent to it.",
        of: |_, seen| seen.record.totals.selected.get(),
    },
    Figure {
        name: "failed_over_total",
        about: "Requests that were sent on from it to another destination.",
        of: |_, seen| seen.record.totals.failed_over.get(),
    },
    Figure {
        name: "refused_total",
        about: "Selections that found no room in its set while it was up.",
        of: |_, seen| seen.refused,
    },
    Figure {
        name: "failed_probes_total",
        about: "Probes that failed.",
        of: |_, seen| seen.record.totals.failed_probes.get(),
    },
    Figure {
        name: "cps",
        about: "New calls that it may get in a second.",
        of: |one, _| one.limits.rate.cps.into(),
    },
    Figure {
        name: "cps_burst",
        about: "So many more may come at once.",
        of: |one, _| one.limits.rate.burst.into(),
    },
    Figure {
        name: "slow_start_percent",
        about: "Percent of its share of new calls that it may have: 100 but for a slow start.",
        of: |_, seen| seen.record.slow_start(0).map_or(100, |slow| slow.percent.into()),
    },
    Figure {
        name: "over_rate_total",
        about: "How often it has come to its limit on new calls.",
        of: |_, seen| seen.record.totals.over_rate.get(),
    },
];

impl Figure {
    /// Its value, where the destination shows it: of a limit that few destinations have only those that have it.
    pub fn shown(&self, one: &Member<'_>, seen: &Seen<'_>) -> Option<u64> {
        let is_shown = match self.name {
            "ejected" | "ejections_total" => seen.followed,
            "maxload_reserve" => one.limits.maxload_reserve > 0,
            "slow_start_percent" => one.limits.slow_start > 0,
            "cps" | "cps_burst" | "over_rate_total" => one.limits.rate.limits(),
            _ => true,
        };
        is_shown.then(|| (self.of)(one, seen))
    }
}

/// Before each name in a Prometheus text.
const PREFIX: &str = "kamailio_dispatcher_destination_";

/// The destinations of a set, each identity once, with their records.
pub fn each<'a, A: Alloc>(
    root: &'a Root<A>,
    set: &'a Set<A>,
) -> impl Iterator<Item = (Member<'a>, &'a Record)> {
    let mut seen = HashSet::new();
    let once = set.iter().filter(move |one| seen.insert(one.record));
    once.filter_map(|one| Some((one, root.registry.record(one.record)?)))
}

/// All figures of these sets in the text format of Prometheus, version 0.0.4.
pub fn prometheus<A: Alloc>(root: &Root<A>, sets: &[&Set<A>]) -> String {
    let labelled = |set: &Set<A>, one: Member<'_>| {
        let socket = [one.text(one.sockname), one.text(one.socket)].into_iter().find(|text| !text.is_empty());
        let [uri, duid, socket] =
            [one.text(one.uri), one.text(one.duid), socket.unwrap_or_default()].map(escaped);
        format!("{{set=\"{}\",uri=\"{uri}\",duid=\"{duid}\",socket=\"{socket}\"}}", set.id)
    };
    let all: Vec<_> = sets
        .iter()
        .flat_map(|set| {
            each(root, set).map(|(one, record)| (labelled(set, one), one, Seen::of(root, set, one, record)))
        })
        .collect();
    let mut text = String::new();
    for figure in FIGURES {
        let Figure { name, about, .. } = figure;
        let shown = || all.iter().filter_map(|(labels, one, seen)| Some((labels, figure.shown(one, seen)?)));
        if shown().next().is_none() && !all.is_empty() {
            continue;
        }
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Prometheus has seconds only.
        let milliseconds = name.strip_suffix("milliseconds");
        let name = milliseconds.map_or_else(|| (*name).to_owned(), |name| format!("{name}seconds"));
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {PREFIX}{name} {about}\n# TYPE {PREFIX}{name} {kind}");
        for (labels, value) in shown() {
            let _ = match milliseconds {
                Some(_) => writeln!(text, "{PREFIX}{name}{labels} {}", value as f64 / 1000.0),
                None => writeln!(text, "{PREFIX}{name}{labels} {value}"),
            };
        }
    }
    text
}

/// A figure of a capacity.
pub struct OfCapacity {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Its value.
    of: fn(&capacities::Seen) -> u64,
}

impl OfCapacity {
    /// Its value, where the capacity shows it: of a limit on new calls only where it has one.
    fn shown(&self, one: &capacities::Seen) -> Option<u64> {
        let is_rate = ["cps", "cps_burst", "over_rate_total"].contains(&self.name);
        (!is_rate || one.rate.limits()).then(|| (self.of)(one))
    }
}

/// All figures of the capacities that destinations share.
pub const OF_CAPACITY: [OfCapacity; 6] = [
    OfCapacity {
        name: "calls",
        about: "Calls of all destinations that share it.",
        of: |one| one.calls.into(),
    },
    OfCapacity {
        name: "limit",
        about: "Calls that they may have together; 0 is no limit.",
        of: |one| one.limit.into(),
    },
    OfCapacity {
        name: "reserve",
        about: "Calls with priority that they take beyond that.",
        of: |one| one.reserve.into(),
    },
    OfCapacity {
        name: "cps",
        about: "New calls that they may get together in a second.",
        of: |one| one.rate.cps.into(),
    },
    OfCapacity {
        name: "cps_burst",
        about: "So many more may come at once.",
        of: |one| one.rate.burst.into(),
    },
    OfCapacity {
        name: "over_rate_total",
        about: "How often they have come to that limit.",
        of: |one| one.over,
    },
];

/// The figures of the capacities in the same format; nothing where there is none.
pub fn of_capacities<A: Alloc>(root: &Root<A>) -> String {
    let all: Vec<capacities::Seen> = root.registry.capacities.lock().each().collect();
    let mut text = String::new();
    for figure in OF_CAPACITY {
        let shown = || all.iter().filter_map(|one| Some((one, figure.shown(one)?)));
        if shown().next().is_none() {
            continue;
        }
        let kind = if figure.name.ends_with("_total") { "counter" } else { "gauge" };
        let (name, about) = (format!("kamailio_dispatcher_capacity_{}", figure.name), figure.about);
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {about}\n# TYPE {name} {kind}");
        for (one, value) in shown() {
            let _ = writeln!(text, "{name}{{capacity=\"{}\"}} {value}", escaped(&one.name));
        }
    }
    text
}

/// Selections that found nothing, by set and cause.
const REFUSED: &str = "kamailio_dispatcher_refused_total";

/// The causes that a set counts.
pub fn causes() -> impl Iterator<Item = Refusal> {
    Refusal::ALL.into_iter().filter(|cause| *cause != Refusal::NoSet)
}

/// How many selections of these sets found nothing, and why, in the same format; and with `no_set` how many asked for a set that
/// there is not.
pub fn refused<A: Alloc>(sets: &[&Set<A>], no_set: Option<u64>) -> String {
    let mut text = format!("# HELP {REFUSED} Selections that found nothing.\n# TYPE {REFUSED} counter\n");
    let mut line = |set: &dyn Display, cause: Refusal, value: u64| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{REFUSED}{{set=\"{set}\",cause=\"{}\"}} {value}", cause.label());
    };
    for set in sets {
        causes().for_each(|cause| line(&set.id, cause, set.refused().get(cause)));
    }
    no_set.into_iter().for_each(|value| line(&"", Refusal::NoSet, value));
    text
}

/// A counter of the module as a whole in the same format.
pub fn counter(name: &str, about: &str, value: u64) -> String {
    of_module(&format!("{name}_total"), "counter", about, value)
}

/// A gauge of it.
pub fn gauge(name: &str, about: &str, value: u64) -> String {
    of_module(name, "gauge", about, value)
}

fn of_module(name: &str, kind: &str, about: &str, value: u64) -> String {
    let name = format!("kamailio_dispatcher_{name}");
    format!("# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}\n")
}

/// A label's value: backslash, quote and line feed are escaped. A byte that is no UTF-8 is shown as `\xff`, so that two
/// destinations never have the same labels.
fn escaped(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                letter => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped(b"a\"b\\c\nd\xff\xc3\xbc"), "a\\\"b\\\\c\\nd\\\\xff\u{fc}");
        assert_ne!(escaped(b"a\xfe"), escaped(b"a\xff"));
    }
}
