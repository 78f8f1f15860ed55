//! What the module is held to, and whether it holds by the figures.

use crate::support::figures::{COPY, Figures, OURS, STOCK};
use crate::support::modules::ALLOCATORS;
use crate::support::numbers::{number, whole};
use crate::support::table::algorithm;
use crate::{choices, health, instructions, relayed, selection, two_workers};
use std::collections::BTreeMap;

/// The figures of all groups that were measured.
pub struct Measured(pub BTreeMap<&'static str, Figures>);

impl Measured {
    fn best(
        &self,
        group: &str,
        allocator: &str,
        case: &str,
        algorithm: Option<u32>,
        size: u64,
        who: &str,
    ) -> Option<f64> {
        Some(self.0.get(group)?.get(allocator, case, algorithm, size, who)?.best)
    }

    fn selection(&self, allocator: &str, case: &str, algorithm: u32, size: u64, who: &str) -> Option<f64> {
        self.best(selection::GROUP.name, allocator, case, Some(algorithm), size, who)
    }

    /// How many times as long the stock module takes.
    fn ratio(&self, allocator: &str, case: &str, algorithm: u32, size: u64) -> Option<f64> {
        let of = |who| self.selection(allocator, case, algorithm, size, who);
        Some(of(STOCK)? / of(OURS)?)
    }

    fn workers(&self, allocator: &str, mode: &str, callers: &str, who: &str) -> Option<f64> {
        self.best(two_workers::GROUP.name, allocator, &two_workers::case(mode, callers), Some(10), 30, who)
    }

    fn relayed(&self, allocator: &str, case: &str, size: u64, who: &str) -> Option<f64> {
        self.best(relayed::GROUP.name, allocator, case, (size > 0).then_some(10), size, who)
    }

    fn own(&self, algorithm: u32, size: u64, who: &str) -> Option<f64> {
        self.best(choices::GROUP.name, "", choices::CASE, Some(algorithm), size, who)
    }
}

#[derive(Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        }
    }
}

/// A figure of one allocator, or of none where the allocator is no matter.
type Value = Box<dyn Fn(&Measured, &str) -> Option<f64>>;

/// The same in words.
type MadeOf = Box<dyn Fn(&Measured, &str) -> Option<String>>;

pub struct Bar {
    /// What is held to it.
    what: String,
    bound: Bound,
    unit: &'static str,
    /// Those that must hold it; others are shown beside them.
    allocators: &'static [&'static str],
    value: Value,
    /// What the figure is made of, for a bar that does not hold.
    made_of: MadeOf,
}

/// A line of the page.
pub struct Judged {
    pub what: String,
    pub bar: String,
    pub measured: String,
    /// Nothing where it was not measured.
    pub holds: Option<bool>,
    pub made_of: String,
}

impl Bar {
    pub fn judge(&self, measured: &Measured) -> Judged {
        let shown: &[&str] = if self.allocators == [""] { &[""] } else { &ALLOCATORS };
        let value = |allocator: &&str| (self.value)(measured, allocator);
        let tell = |allocator: &&str| {
            Some(format!("{allocator} {}{}", number(value(allocator)?), self.unit).trim().to_owned())
        };
        let measured_values: Vec<_> = shown.iter().filter_map(tell).collect();
        let judged: Vec<_> = self.allocators.iter().filter_map(value).collect();
        let holds = (!judged.is_empty()).then(|| judged.iter().all(|value| self.bound.holds(*value)));
        let (word, bound) = match self.bound {
            Bound::AtLeast(bound) => ("at least", bound),
            Bound::AtMost(bound) => ("at most", bound),
        };
        let by = if ALLOCATORS.contains(&self.allocators[0]) {
            format!(" ({})", self.allocators.join(", "))
        } else {
            String::new()
        };
        let made_of = match holds {
            Some(false) => self
                .allocators
                .iter()
                .find_map(|allocator| (self.made_of)(measured, allocator))
                .unwrap_or_default(),
            _ => String::new(),
        };
        Judged {
            what: self.what.clone(),
            bar: format!(
                "{word} {}{}{by}",
                if bound.fract() == 0.0 && bound >= 10.0 {
                    format!("{bound:.0}")
                } else {
                    format!("{bound}")
                },
                self.unit
            ),
            measured: measured_values.join(" · "),
            holds,
            made_of,
        }
    }
}

const FM: &[&str] = &["fm"];
const QM: &[&str] = &["qm"];
const NEITHER: &[&str] = &[""];

/// The stock module's time by ours; of several algorithms and sizes the worst.
fn beside_stock(what: &str, case: &str, algorithms: &[u32], sizes: &[u64], bound: f64) -> Bar {
    let pairs: Vec<(u32, u64)> =
        algorithms.iter().flat_map(|a| sizes.iter().map(move |s| (*a, *s))).collect();
    let (case, of) = (case.to_owned(), pairs.clone());
    let worst = move |m: &Measured, allocator: &str, case: &str| {
        let ratios = of.iter().filter_map(|(a, s)| Some((m.ratio(allocator, case, *a, *s)?, *a, *s)));
        ratios.min_by(|one, other| one.0.total_cmp(&other.0))
    };
    let (found, same_case) = (worst.clone(), case.clone());
    Bar {
        what: what.into(),
        bound: Bound::AtLeast(bound),
        unit: "",
        allocators: FM,
        value: Box::new(move |m, allocator| Some(worst(m, allocator, &case)?.0)),
        made_of: Box::new(move |m, allocator| {
            let (_, number_of, size) = found(m, allocator, &same_case)?;
            let of = |who| m.selection(allocator, &same_case, number_of, size, who);
            let (ours, stock) = (of(OURS)?, of(STOCK)?);
            let own = m.own(number_of, size, choices::ALONE).map_or_else(String::new, |ns| {
                let own = ns / 1e3;
                format!(
                    "; choosing and counting are {} µs of ours, the rest is the script's call, `$du` and xavps: if they took no time \
                     it would be {}",
                    number(own),
                    number(stock / (ours - own).max(0.0))
                )
            });
            Some(format!(
                "{} of {}: ours {} µs, stock {} µs{own}",
                algorithm(number_of),
                whole(size),
                number(ours),
                number(stock)
            ))
        }),
    }
}

fn plain(
    what: impl Into<String>,
    bound: Bound,
    unit: &'static str,
    allocators: &'static [&'static str],
    value: impl Fn(&Measured, &str) -> Option<f64> + 'static,
) -> Bar {
    Bar { what: what.into(), bound, unit, allocators, value: Box::new(value), made_of: Box::new(|_, _| None) }
}

fn selections() -> Vec<Bar> {
    let limit = selection::LIMIT;
    let [lean_all, lean_one, bare_one] =
        [(1, selection::ALL), (1, limit), (2, limit)].map(|(mode, beside)| selection::lean(mode, beside));
    vec![
        beside_stock("stock ÷ ours: limit 1 of 3, algorithm 4", limit, &[4], &[3], 1.0),
        beside_stock("stock ÷ ours: limit 1 of 30, algorithms 0 and 4", limit, &[0, 4], &[30], 1.0),
        beside_stock(
            "stock ÷ ours: limit 1 of 30, algorithm 4, where calls count",
            selection::LIMIT_BESIDE_CALLS,
            &[4],
            &[30],
            1.0,
        ),
        beside_stock("stock ÷ ours: limit 1 of 30, algorithms 9 and 11", limit, &[9, 11], &[30], 1.0),
        beside_stock("stock ÷ ours: limit 1 of 30, algorithm 10", limit, &[10], &[30], 1.3),
        beside_stock("stock ÷ ours: limit 1 of 300, algorithm 10", limit, &[10], &[300], 2.0),
        beside_stock("stock ÷ ours: limit 1 of 3 000, algorithm 10", limit, &[10], &[3_000], 6.0),
        beside_stock(
            "stock ÷ ours: no list, algorithms 0, 4 and 8, 3 to 300",
            selection::NO_LIST,
            &[0, 4, 8],
            &[3, 30, 300],
            1.0,
        ),
        beside_stock("stock ÷ ours: full list of 30, algorithm 10", selection::ALL, &[10], &[30], 1.0),
        beside_stock("stock ÷ ours: full list of 300, algorithm 10", selection::ALL, &[10], &[300], 1.0),
        beside_stock("stock ÷ ours: algorithm 12, of 3", selection::NO_LIST, &[12], &[3], 1.0),
        beside_stock("stock ÷ ours: limit 1 of 30, algorithm 13", limit, &[13], &[30], 1.0),
        beside_stock("stock's full list ÷ lean 1, of 30", &lean_all, &[10], &[30], 12.0),
        beside_stock("stock's full list ÷ lean 1, of 300", &lean_all, &[10], &[300], 120.0),
        beside_stock("stock's limit 1 ÷ lean 1, of 30", &lean_one, &[10], &[30], 1.3),
        beside_stock("stock's limit 1 ÷ lean 2, of 30", &bare_one, &[10], &[30], 2.0),
    ]
}

/// The longest by the shortest of all sizes.
fn flat(mode: u32) -> Bar {
    plain(
        format!("lean {mode}: longest ÷ shortest of 3 to 30 000"),
        Bound::AtMost(1.5),
        "",
        FM,
        move |m, allocator| {
            let case = selection::lean(mode, selection::LIMIT);
            let of = |size| m.selection(allocator, &case, 10, size, OURS);
            let times: Vec<f64> = [3, 30, 300, 3_000, 30_000].into_iter().filter_map(of).collect();
            let (low, high) =
                (times.iter().copied().reduce(f64::min)?, times.iter().copied().reduce(f64::max)?);
            Some(high / low)
        },
    )
}

fn contending() -> Vec<Bar> {
    use two_workers::{ALONE, ONE_SET, TWO_SETS};
    let together = |what: &str, callers: &'static str, bound: f64| {
        let mut bar = plain(what, Bound::AtLeast(bound), "", FM, move |m, allocator| {
            let of = |callers| m.workers(allocator, "lean 2", callers, OURS);
            Some(2.0 * of(ALONE)? / of(callers)?)
        });
        bar.made_of = Box::new(move |m, allocator| {
            let of = |callers| m.workers(allocator, "lean 2", callers, OURS);
            Some(format!("{} µs alone, {} µs each of two", number(of(ALONE)?), number(of(callers)?)))
        });
        bar
    };
    vec![
        plain(
            "two workers, one set: stock's limit 1 ÷ lean 1",
            Bound::AtLeast(1.0),
            "",
            FM,
            |m, allocator| {
                Some(
                    m.workers(allocator, selection::LIMIT, ONE_SET, STOCK)?
                        / m.workers(allocator, "lean 1", ONE_SET, OURS)?,
                )
            },
        ),
        together("lean 2, one set: what two workers do together ÷ what one does alone", ONE_SET, 1.0),
        together("lean 2, two sets: what two workers do together ÷ what one does alone", TWO_SETS, 1.7),
    ]
}

/// What a lean call takes beyond a call to a fixed `$du`, in percent. Both in servers that have loaded our module: what a
/// module takes at the start is the past of the server's memory, and with `qm` that past decides how long an allocation takes.
fn calls() -> Vec<Bar> {
    let of = |allocators: &'static [&'static str], size: u64, bound: f64| {
        let what = format!("a relayed call, lean 2 of {size}, beyond a fixed `$du`");
        let mut bar = plain(what, Bound::AtMost(bound), " %", allocators, move |m, allocator| {
            let fixed = m.relayed(allocator, relayed::FIXED, 0, OURS)?;
            Some((m.relayed(allocator, "lean 2", size, OURS)? / fixed - 1.0) * 100.0)
        });
        bar.made_of = Box::new(move |m, allocator| {
            let of = |case, size, who| m.relayed(allocator, case, size, who);
            let (lean, fixed) = (of("lean 2", size, OURS)?, of(relayed::FIXED, 0, OURS)?);
            let stock = of(relayed::FIXED, 0, STOCK)?;
            Some(format!(
                "{} µs; a fixed `$du` {} µs, with the stock module loaded {} µs",
                number(lean),
                number(fixed),
                number(stock)
            ))
        });
        bar
    };
    let beside = |what: &str, bound: f64, [case, other]: [&'static str; 2]| {
        let what = format!("a relayed call, {what}, the better of two servers each");
        plain(what, Bound::AtMost(bound), "", &["fm", "qm"], move |m, allocator| {
            let of = |case| better(|who| m.relayed(allocator, case, 30, who));
            Some(of(case)? / of(other)?)
        })
    };
    let counted = "limit 1 of 30: `ds_load_auto` ÷ counted by the script";
    let followed = beside(counted, 1.0, [relayed::FOLLOWED, selection::LIMIT]);
    let rules = "`ds_load_auto`, of 30: all rules of health ÷ none";
    let health = beside(rules, 1.1, [relayed::HEALTH, relayed::FOLLOWED]);
    vec![of(FM, 30, 5.0), of(QM, 30, 10.0), followed, health]
}

/// The lower figure of two servers that do the same.
fn better(of: impl Fn(&'static str) -> Option<f64>) -> Option<f64> {
    [OURS, COPY].into_iter().filter_map(of).reduce(f64::min)
}

/// A selection where all rules of health are on, by one where none is; the greatest of several algorithms and sizes.
fn health() -> Bar {
    plain(
        "a selection, algorithms 4, 10 and 101 of 30 and 3 000: all rules of health ÷ none, the better of two servers each",
        Bound::AtMost(1.1),
        "",
        &["fm", "qm"],
        |m, allocator| {
            let of = |case, algorithm, size| {
                better(|who| m.best(health::GROUP.name, allocator, case, Some(algorithm), size, who))
            };
            let ratio = |algorithm, size| {
                Some(of(health::WITH, algorithm, size)? / of(health::WITHOUT, algorithm, size)?)
            };
            let all =
                health::ALGORITHMS.into_iter().flat_map(|a| health::SIZES.map(|size| ratio(a, size as u64)));
            all.flatten().reduce(f64::max)
        },
    )
}

/// A figure of each algorithm and size, of which the greatest must hold; in words it is told which that is.
fn greatest(
    what: &str,
    bound: f64,
    unit: &'static str,
    algorithms: &[u32],
    sizes: &[u64],
    figure: fn(&Measured, u32, u64) -> Option<f64>,
) -> Bar {
    let pairs: Vec<(u32, u64)> =
        algorithms.iter().flat_map(|a| sizes.iter().map(move |s| (*a, *s))).collect();
    let found = move |m: &Measured| {
        let figures = pairs.iter().filter_map(|(a, s)| Some((figure(m, *a, *s)?, *a, *s)));
        figures.max_by(|one, other| one.0.total_cmp(&other.0))
    };
    let same = found.clone();
    let mut bar = plain(what, Bound::AtMost(bound), unit, NEITHER, move |m, _| Some(found(m)?.0));
    bar.made_of = Box::new(move |m, _| {
        let (_, of, size) = same(m)?;
        Some(format!("it is {} of {}", algorithm(of), whole(size)))
    });
    bar
}

/// What else there is to say of a bar that does not hold.
fn also(bar: &mut Bar, more: impl Fn(&Measured) -> Option<String> + 'static) {
    let nothing: MadeOf = Box::new(|_, _| None);
    let which = std::mem::replace(&mut bar.made_of, nothing);
    bar.made_of = Box::new(move |m, allocator| Some(format!("{}; {}", which(m, allocator)?, more(m)?)));
}

fn own_part() -> Vec<Bar> {
    const UP_TO_3_000: &[u64] = &[3, 30, 300, 3_000];
    const OLD: &[u32] = &[0, 4, 8, 9, 10, 11];
    let alone = |m: &Measured, algorithm, size| m.own(algorithm, size, choices::ALONE);
    let bare = |m: &Measured, who| m.best(choices::GROUP.name, "", choices::BARE_LOCK, None, 0, who);
    let at_case = |m: &Measured, case, algorithm, size| {
        m.best(choices::GROUP.name, "", case, algorithm, size, choices::ALONE)
    };
    let all_sizes = choices::SIZES.map(u64::from);
    let mut two_contending = greatest(
        "own part: two contending ÷ alone, algorithms 0 to 11",
        3.0,
        "",
        OLD,
        &all_sizes,
        |m, a, size| Some(m.own(a, size, choices::CONTENDING)? / m.own(a, size, choices::ALONE)?),
    );
    also(&mut two_contending, move |m| {
        let (alone, contending) = (bare(m, choices::ALONE)?, bare(m, choices::CONTENDING)?);
        Some(format!(
            "a counter behind such a lock, and no more, takes {} ns alone and {} ns contending, {} times as long",
            number(alone),
            number(contending),
            number(contending / alone)
        ))
    });
    let mut call_load =
        greatest("own part alone, algorithm 10, up to 3 000", 150.0, " ns", &[10], UP_TO_3_000, alone);
    also(&mut call_load, move |m| {
        let (lock, choosing) = (bare(m, choices::ALONE)?, at_case(m, choices::CHOOSING, Some(10), 3_000)?);
        let executed =
            m.best(instructions::GROUP.name, "", choices::CASE, Some(10), 3_000, instructions::WHO)?;
        Some(format!(
            "choosing takes {} ns of it and the rest counts the call and releases it, each under its locks and up the set's tree; \
             a bare lock takes {} ns; it is {} instructions in all",
            number(choosing),
            number(lock),
            number(executed)
        ))
    });
    let mut largest =
        greatest("own part alone, algorithms 0 to 11, 30 000", 250.0, " ns", OLD, &[30_000], alone);
    also(&mut largest, move |m| {
        let read = |size| at_case(m, choices::RANDOM_READ, None, size);
        Some(format!(
            "reading one cache line at random takes {} ns where there is one for each of 30 000, {} ns of 3 000; a choice by \
             weight reads one for each level of its tree and those of the destination, and the instructions hardly grow",
            number(read(30_000)?),
            number(read(3_000)?)
        ))
    });
    vec![
        greatest(
            "own part alone, algorithms 0 to 9 and 11, up to 3 000",
            100.0,
            " ns",
            &[0, 4, 8, 9, 11],
            UP_TO_3_000,
            alone,
        ),
        call_load,
        largest,
        two_contending,
        greatest(
            "instructions of 30 000 ÷ of 3 (log 30 000 ÷ log 3 is 9.4), all algorithms",
            9.4,
            "",
            &choices::ALGORITHMS,
            &[30_000],
            |m, a, size| {
                let of = |size| {
                    m.best(instructions::GROUP.name, "", choices::CASE, Some(a), size, instructions::WHO)
                };
                Some(of(size)? / of(3)?)
            },
        ),
    ]
}

pub fn bars() -> Vec<Bar> {
    let flat = vec![flat(1), flat(2)];
    [selections(), flat, contending(), calls(), vec![health()], own_part()].into_iter().flatten().collect()
}
