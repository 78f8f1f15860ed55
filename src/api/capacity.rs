//! `dispatcher.capacity`: the capacities that destinations share.

use super::rpc::{show_rate, with_module};
use crate::host::rpc::Rpc;
use crate::service::report::capacities::capacities;

/// `dispatcher.capacity [name]`: all, or the one of this name.
pub fn capacity(rpc: &Rpc) {
    with_module(rpc, |module| {
        let name = rpc.optional_text(0);
        let top = rpc.structure()?;
        let all = top.array(c"CAPACITIES")?;
        let wanted = capacities(module.root).into_iter();
        for (one, sharers) in wanted.filter(|(one, _)| name.is_none_or(|name| name == one.name)) {
            let entry = all.structure(c"CAPACITY")?;
            entry.text(c"NAME", &one.name)?;
            entry.int(c"CALLS", i32::try_from(one.calls).unwrap_or(i32::MAX))?;
            entry.int(c"LIMIT", i32::try_from(one.limit).unwrap_or(i32::MAX))?;
            entry.int(c"RESERVE", i32::try_from(one.reserve).unwrap_or(i32::MAX))?;
            show_rate(one.rate, one.over, &entry)?;
            entry.int(c"SIZE", i32::try_from(sharers.len()).unwrap_or(i32::MAX))?;
            let members = entry.array(c"MEMBERS")?;
            for sharer in sharers {
                let member = members.structure(c"DEST")?;
                member.int(c"SET", sharer.set)?;
                member.text(c"NAME", &sharer.name)?;
                member.int(c"CONFIGURED", sharer.configured.into())?;
                member.int(c"LOAD", i32::try_from(sharer.load).unwrap_or(i32::MAX))?;
            }
        }
        Ok(())
    });
}
