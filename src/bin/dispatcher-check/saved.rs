//! What a list is compared with: an older list, or a saved answer of `dispatcher.list`, as JSON or as `kamcmd` prints it.

use crate::Failed;
use crate::source::{self, How};
use dispatcher::dest::compare::Listed;
use dispatcher::dest::{Attrs, Flags};
use serde_json::{Map, Value};
use std::path::Path;

/// The list before.
pub struct Saved {
    pub destinations: Vec<Listed<'static>>,
    /// The states of the moment, where it is an answer of a server.
    pub states: Option<Vec<Flags>>,
}

/// Reads it.
pub fn read(file: &Path, how: How<'_>) -> Result<Saved, Failed> {
    let bytes = source::bytes(file)?;
    let unclear = |why: String| Failed::Unclear(format!("{}: {why}", file.display()));
    if !bytes.trim_ascii_start().starts_with(b"{") {
        let old = source::check(file, bytes, How { strict: false, ..how })?;
        let destinations = old.destinations.iter().map(|one| owned(one.listed())).collect();
        return Ok(Saved { destinations, states: None });
    }
    let answer: Value = match serde_json::from_slice(&bytes) {
        Ok(answer) => answer,
        Err(error) => kamcmd(&bytes).ok_or_else(|| {
            unclear(format!("neither JSON ({error}) nor an answer of dispatcher.list as kamcmd prints it"))
        })?,
    };
    let answer = answer.get("result").unwrap_or(&answer);
    let records = answer
        .get("RECORDS")
        .and_then(Value::as_array)
        .ok_or_else(|| unclear("no RECORDS in it: expected the answer of dispatcher.list full".into()))?;
    let mut saved = Saved { destinations: Vec::new(), states: Some(Vec::new()) };
    for set in records.iter().filter_map(|record| record.get("SET")) {
        let id = whole(set.get("ID")).ok_or_else(|| unclear("a SET without its ID".into()))?;
        for one in set.get("TARGETS").and_then(Value::as_array).into_iter().flatten() {
            take(&mut saved, id, one.get("DEST").unwrap_or(one));
        }
    }
    Ok(saved)
}

fn owned(one: Listed<'_>) -> Listed<'static> {
    let own = |text: &[u8]| text.to_vec().into();
    Listed {
        uri: own(&one.uri),
        duid: own(&one.duid),
        socket: own(&one.socket),
        body: own(&one.body),
        set: one.set,
        flags: one.flags,
        priority: one.priority,
        maxload: one.maxload,
        calls: one.calls,
    }
}

fn whole(value: Option<&Value>) -> Option<i32> {
    let value = value?;
    value.as_i64().and_then(|number| i32::try_from(number).ok()).or_else(|| value.as_str()?.parse().ok())
}

/// Takes in one destination of an answer. A name that stands for many is one line of the source.
fn take(saved: &mut Saved, set: i32, one: &Value) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let written = text(one.get("HEALTH").and_then(|health| health.get("NAME")));
    let uri = if written.is_empty() { text(one.get("URI")) } else { written.clone() };
    let body = text(one.get("ATTRS").and_then(|attrs| attrs.get("BODY")));
    let calls = one.get("RUNTIME").and_then(|run| whole(run.get("DLGLOAD").or_else(|| run.get("LOAD"))));
    let calls = u32::try_from(calls.unwrap_or(0)).unwrap_or(0);
    let last = saved.destinations.last_mut();
    if let Some(same) =
        last.filter(|last| !written.is_empty() && last.set == set && *last.uri == *uri.as_bytes())
    {
        same.calls += calls;
        return;
    }
    let attrs = Attrs::parse(body.as_bytes(), false).unwrap_or_default();
    let listed = Listed {
        set,
        uri: uri.as_bytes().into(),
        duid: attrs.duid.clone(),
        socket: attrs.values.local_socket(|text| text).into(),
        flags: None,
        priority: whole(one.get("PRIORITY")).unwrap_or(0),
        body: body.as_bytes().into(),
        maxload: attrs.maxload,
        calls,
    };
    let letters = text(one.get("FLAGS"));
    let state = match letters.bytes().next() {
        Some(b'I') => Flags::INACTIVE,
        Some(b'D') => Flags::DISABLED,
        Some(b'T') => Flags::TRYING,
        _ => Flags::default(),
    };
    let state = match letters.as_bytes().get(2) {
        Some(b'D') => state.with(Flags::DRAINING),
        Some(b'E') => state.with(Flags::EJECTED),
        _ => state,
    };
    saved.destinations.push(owned(listed));
    saved.states.get_or_insert_default().push(state);
}

/// An answer as `kamcmd` prints it: `NAME: value`, or `NAME: {` and what belongs to it up to a `}`. Whatever holds several of one name is
/// an array.
fn kamcmd(text: &[u8]) -> Option<Value> {
    let text = core::str::from_utf8(text).ok()?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    (lines.next()? == "{").then_some(())?;
    block(&mut lines, "")
}

/// What a name holds that stands for many.
const ARRAYS: [&str; 2] = ["RECORDS", "TARGETS"];

fn block<'t>(lines: &mut impl Iterator<Item = &'t str>, name: &str) -> Option<Value> {
    let (mut map, mut array) = (Map::new(), Vec::new());
    let is_array = ARRAYS.contains(&name);
    loop {
        let line = lines.next()?;
        if line == "}" || line == "]" {
            return Some(if is_array { Value::Array(array) } else { Value::Object(map) });
        }
        let (name, value) = line.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        let value = match value {
            "{" | "[" => block(lines, name)?,
            "<null string>" => Value::Null,
            value => Value::String(value.to_owned()),
        };
        if is_array {
            array.push(Value::Object(Map::from_iter([(name.to_owned(), value)])));
        } else {
            map.insert(name.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KAMCMD: &str = "{\n\tNRSETS: 1\n\tRECORDS: {\n\t\tSET: {\n\t\t\tID: 7\n\t\t\tTARGETS: {\n\t\t\t\tDEST: {\n\
        \t\t\t\t\tURI: sip:192.0.2.1:5060\n\t\t\t\t\tFLAGS: IP\n\t\t\t\t\tPRIORITY: 3\n\t\t\t\t\tATTRS: {\n\
        \t\t\t\t\t\tBODY: duid=a;maxload=9\n\t\t\t\t\t\tDUID: a\n\t\t\t\t\t}\n\t\t\t\t\tRUNTIME: {\n\
        \t\t\t\t\t\tDLGLOAD: 5\n\t\t\t\t\t}\n\t\t\t\t}\n\t\t\t}\n\t\t}\n\t}\n}\n";

    #[test]
    fn answer_of_kamcmd_is_read_as_the_one_in_json() {
        let json = r#"{"NRSETS":1,"RECORDS":[{"SET":{"ID":7,"TARGETS":[{"DEST":{"URI":"sip:192.0.2.1:5060","FLAGS":"IP",
            "PRIORITY":3,"ATTRS":{"BODY":"duid=a;maxload=9","DUID":"a"},"RUNTIME":{"DLGLOAD":5}}}]}}]}"#;
        let folder = std::env::temp_dir().join(format!("dispatcher-check-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let read = |text: &str| {
            let file = folder.join("answer");
            std::fs::write(&file, text).unwrap();
            let Ok(saved) = read(&file, How { csv: false, extra_attrs: "", strict: false, limits: false })
            else {
                panic!("{text}")
            };
            (saved.destinations, saved.states.unwrap())
        };
        let expected = read(json);
        assert_eq!(read(KAMCMD), expected);
        assert_eq!(read(&json.replace("IP", "IPD")).1, [Flags::INACTIVE.with(Flags::DRAINING)]);
        assert_eq!(read(&json.replace("IP", "APE")).1, [Flags::EJECTED]);
        let (one, state) = (&expected.0[0], expected.1[0]);
        assert_eq!((one.set, one.priority, one.calls, one.maxload, state), (7, 3, 5, 9, Flags::INACTIVE));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
