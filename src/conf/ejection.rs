//! `ds_passive_health`, and the parameters that act with it only.

use super::Raw;
use super::read::Reader;
use crate::health::ejection::Rules;

impl Reader {
    /// The rules by which calls that fail put a destination out; none where nobody follows them.
    pub fn ejection(&mut self, raw: &Raw) -> Option<Rules> {
        let on = self.only_1("ds_passive_health", raw.ds_passive_health);
        let rules = Rules {
            row: self.whole("ds_eject_row", raw.ds_eject_row, 5),
            window: self.from(1, "ds_eject_window", raw.ds_eject_window, 30),
            min_calls: self.from(1, "ds_eject_min_calls", raw.ds_eject_min_calls, 10),
            share: self.percent("ds_eject_share", raw.ds_eject_share, 50),
            time: self.from(1, "ds_eject_time", raw.ds_eject_time, 30),
            max_time: self.from(1, "ds_eject_max_time", raw.ds_eject_max_time, 300),
            trial: self.from(1, "ds_eject_trial", raw.ds_eject_trial, 3),
            retry_after_max: self.whole("ds_retry_after_max", raw.ds_retry_after_max, 60),
            most: self.percent("ds_max_ejected", raw.ds_max_ejected, 30),
        };
        on.then_some(rules)
    }

    fn percent(&mut self, name: &'static str, found: i32, instead: u32) -> u32 {
        match u32::try_from(found) {
            Ok(number @ 0..=100) => number,
            _ => {
                self.number(name, found, "a number from 0 to 100", format_args!("{instead} is in effect"));
                instead
            }
        }
    }
}
