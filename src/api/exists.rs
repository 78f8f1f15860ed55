//! `ds_list_exists`.

use super::module;
use crate::host::log;
use crate::host::message::Message;
use crate::host::script::{Args, Verdict};

/// `ds_list_exists(set)`: whether there is such a set. False is -1, an argument that is no number -2.
pub fn list_exists(_: &mut Message, args: &Args<'_>) -> Verdict {
    match args.int(0, "set") {
        Ok(id) => {
            let found = module().and_then(super::Module::sets).is_some_and(|sets| sets.set(id).is_some());
            if found { Verdict::True } else { Verdict::FALSE }
        }
        Err(error) => {
            log::error(format_args!("ds_list_exists: {error}"));
            Verdict::False(-2)
        }
    }
}
