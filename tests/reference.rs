//! The manual against the code: what is exported stands in `docs/reference/`, and what stands there is exported, with the same
//! arguments, contexts and defaults. Every relative link of README and docs leads somewhere.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A source file without its comments.
fn code(path: &str) -> String {
    let text = read(path);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    lines.join("\n")
}

// ---- what the code says

/// Where the bracket that opens at the start of `text` is closed.
fn closing(text: &str) -> usize {
    let (mut depth, mut quoted, mut before) = (0, false, ' ');
    for (at, letter) in text.char_indices() {
        match letter {
            '"' if before != '\\' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
        before = letter;
    }
    panic!("no end: {text}");
}

/// What stands between commas (or another sign) that are in no bracket and no quotes.
fn parted(text: &str, by: char) -> Vec<String> {
    let (mut depth, mut quoted) = (0, false);
    let mut parts = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if letter == by && depth == 0 && !quoted {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(letter);
        }
    }
    let mut parts: Vec<_> = parts.iter().map(|part| part.trim().to_owned()).collect();
    parts.retain(|part| !part.is_empty());
    parts
}

/// The arguments of each call of this macro.
fn rows(code: &str, name: &str) -> Vec<Vec<String>> {
    let call = format!("{name}!(");
    let of = |rest: &str| {
        let rest = &rest[call.len() - 1..];
        parted(&rest[1..closing(rest)], ',')
    };
    let found: Vec<_> = code.match_indices(&call).map(|(at, _)| of(&code[at..])).collect();
    assert!(!found.is_empty(), "no {call}…)");
    found
}

/// `c"text"` or `"text"`.
fn text(literal: &str) -> String {
    literal.trim_start_matches(['c', 'b']).trim_matches('"').to_owned()
}

/// The names in `(int set, text uri)`.
fn arguments(list: &str) -> Vec<String> {
    let inside = list.trim().strip_prefix('(').and_then(|it| it.strip_suffix(')')).unwrap();
    parted(inside, ',').iter().map(|one| text(one.split_once(' ').unwrap().1.trim())).collect()
}

fn call(name: &str, arguments: &[String]) -> String {
    format!("{name}({})", arguments.join(", "))
}

// ---- what a page says

/// What a page says of one thing: its fields (`- **Default**: …`) and all of its text.
#[derive(Default)]
struct Item {
    fields: BTreeMap<String, String>,
    text: String,
}

/// The `###` headings of a page with fields below them.
fn items(page: &str) -> BTreeMap<String, Item> {
    let text = read(page);
    let mut all = BTreeMap::new();
    for part in text.split("\n### ").skip(1) {
        let (name, rest) = part.split_once('\n').unwrap();
        let rest = rest.split("\n## ").next().unwrap();
        let field = |line: &str| {
            let (name, value) = line.strip_prefix("- **")?.split_once("**: ")?;
            Some((name.to_owned(), value.to_owned()))
        };
        let item = Item { fields: rest.lines().filter_map(field).collect(), text: rest.to_owned() };
        let anchor = format!("](#{})", anchor(name));
        assert!(item.fields.is_empty() || text.contains(&anchor), "{page}: its table has no {name}");
        assert!(all.insert(name.to_owned(), item).is_none(), "{page} has {name} twice");
    }
    all
}

/// Those with this field: the others are chapters.
fn items_with(page: &str, field: &str) -> BTreeMap<String, Item> {
    let mut all = items(page);
    all.retain(|_, item| item.fields.contains_key(field));
    all
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn same<'a>(
    page: &str,
    documented: impl IntoIterator<Item = &'a String>,
    exported: impl IntoIterator<Item = &'a String>,
) {
    let documented: BTreeSet<_> = documented.into_iter().collect();
    let exported: BTreeSet<_> = exported.into_iter().collect();
    let missing: Vec<_> = exported.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&exported).collect();
    assert!(missing.is_empty(), "{page} does not have: {missing:?}");
    assert!(invented.is_empty(), "{page} has what does not exist: {invented:?}");
    assert!(!exported.is_empty(), "{page}: nothing is exported");
}

fn has_since_and_example(page: &str, name: &str, item: &Item) {
    let since = item.fields.get("Since").unwrap_or_else(|| panic!("{page}: {name} has no Since"));
    let (ours, theirs) = since.split_once("; ").unwrap_or_else(|| panic!("{page}: {name}: {since}"));
    assert!(ours.split('.').count() == 3, "{page}: {name}: {since}");
    assert!(theirs == "this module only" || theirs.starts_with("stock module: "), "{page}: {name}: {since}");
    assert!(item.text.contains("\n```"), "{page}: {name} has no example");
}

const FUNCTIONS: &str = "docs/reference/functions.md";
const PARAMETERS: &str = "docs/reference/parameters.md";
const ATTRIBUTES: &str = "docs/reference/attributes.md";
const VARIABLES: &str = "docs/reference/variables.md";
const COMMANDS: &str = "docs/reference/rpc.md";
const METRICS: &str = "docs/reference/metrics.md";
const EVENTS: &str = "docs/reference/events.md";

#[test]
fn functions_of_the_manual_are_those_of_the_export_table() {
    let module = code("src/module.rs");
    let mut forms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut contexts: BTreeMap<String, String> = BTreeMap::new();
    let mut handlers: BTreeMap<String, String> = BTreeMap::new();
    for row in rows(&module, "script_function") {
        let name = text(&row[0]);
        forms.entry(name.clone()).or_default().push(call(&name, &arguments(&row[1])));
        let context = match row[2].as_str() {
            "ANY" => "any",
            "REQUEST_FAILURE" => "request, failure",
            "REQUEST_FAILURE_REPLY" => "request, failure, onreply",
            other => panic!("{other}: name it here as the manual does"),
        };
        let before = contexts.insert(name.clone(), context.to_owned());
        assert!(before.is_none_or(|before| before == context), "{name} has two contexts");
        handlers.insert(name, row[3].clone());
    }
    let mut kemi: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows(&module, "kemi_function") {
        kemi.entry(row[2].clone()).or_default().push(call(&text(&row[0]), &arguments(&row[1])));
    }
    let documented = items_with(FUNCTIONS, "Syntax");
    same(FUNCTIONS, documented.keys(), forms.keys());
    for (name, item) in &documented {
        assert_eq!(quoted(&item.fields["Syntax"]), forms[name], "{FUNCTIONS}: {name}: Syntax");
        assert_eq!(item.fields["Context"], contexts[name], "{FUNCTIONS}: {name}: Context");
        let of_handler = kemi.get(&handlers[name]).cloned().unwrap_or_default();
        assert_eq!(quoted(&item.fields["KEMI"]), of_handler, "{FUNCTIONS}: {name}: KEMI");
        has_since_and_example(FUNCTIONS, name, item);
    }
    let reached: HashSet<_> = handlers.values().collect();
    assert!(kemi.keys().all(|handler| reached.contains(handler)), "a KEMI function has no script function");
}

/// `0`, `c"text"`, `if cfg!(fact) { 0 } else { 1 }`: as the manual writes it.
fn default(name: &str, code: &str) -> Vec<String> {
    if let Some(rest) = code.strip_prefix("if cfg!(") {
        let values: Vec<_> = rest.split('{').skip(1).map(|it| it.split('}').next().unwrap().trim()).collect();
        return vec![values[1].to_owned(), values[0].to_owned()];
    }
    match (name, code) {
        // The folder of the server's configuration is in front of it: see below.
        ("list_file", "c\"\"") => vec!["/etc/kamailio/dispatcher.list".into()],
        (_, "c\"\"" | "T::default()") => Vec::new(),
        (_, "false") => vec!["0".into()],
        (_, "MOST_LEFT_OUT") => vec!["100".into()],
        (_, number_or_text) => vec![text(number_or_text)],
    }
}

#[test]
fn parameters_of_the_manual_have_the_names_types_and_defaults_of_the_code() {
    assert!(read("src/lifecycle.rs").contains("{CFG_DIR}dispatcher.list"), "list_file has another default");
    let code = code("src/conf/parameters.rs");
    let table = code.split_once("$make! {").unwrap().1;
    let mut exported = BTreeMap::new();
    for row in parted(&table[..table.find("\n        }").unwrap()], ';') {
        let (kind, rest) = row.split_once(' ').unwrap();
        let (name, value) = rest.split_once(" = ").unwrap();
        exported.insert(name.to_owned(), (kind.to_owned(), default(name, value)));
    }
    let documented = items(PARAMETERS);
    same(PARAMETERS, documented.keys(), exported.keys());
    for (name, item) in &documented {
        let (kind, default) = &exported[name];
        let kind = if kind == "Text" { "string" } else { "int" };
        let documented_kind = item.fields["Type"].split(',').next().unwrap();
        assert_eq!(documented_kind, kind, "{PARAMETERS}: {name}: Type");
        check_default(PARAMETERS, name, item, default);
        has_since_and_example(PARAMETERS, name, item);
        let example = format!("modparam(\"dispatcher\", \"{name}\", ");
        assert!(item.text.contains(&example), "{PARAMETERS}: {name}: the example sets another one");
    }
}

fn check_default(page: &str, name: &str, item: &Item, default: &[String]) {
    let written = &item.fields["Default"];
    if default.is_empty() {
        assert_eq!(written, "none", "{page}: {name}: Default");
    } else {
        assert_eq!(quoted(written), default, "{page}: {name}: Default");
    }
    // And in the table at the top of the page.
    let row = read(page).lines().find(|line| line.starts_with(&format!("| [`{name}`]"))).map(str::to_owned);
    let row = row.unwrap_or_else(|| panic!("{page}: its table has no {name}"));
    let cell = row.trim_end_matches(" |").rsplit("| ").next().unwrap().to_owned();
    assert!(written.starts_with(&cell) && !cell.is_empty(), "{page}: {name}: {cell} in the table");
}

#[test]
fn attributes_of_the_manual_have_the_names_and_defaults_of_the_code() {
    let code = code("src/dest/attrs.rs");
    let names = code.split_once("const NAMES: [(&[u8], Self)").unwrap().1.split_once("];").unwrap().0;
    let names: Vec<_> = names.split("(b\"").skip(1).map(|it| it.split('"').next().unwrap().into()).collect();
    let defaults = code.split_once("fn default() -> Self {").unwrap().1;
    let defaults = &defaults[defaults.find("Self {").unwrap() + "Self ".len()..];
    let defaults: BTreeMap<String, Vec<String>> = parted(&defaults[1..closing(defaults)], ',')
        .iter()
        .map(|row| row.split_once(':').unwrap())
        .map(|(name, value)| (name.to_owned(), default(name, value.trim())))
        .collect();
    let documented = items(ATTRIBUTES);
    same(ATTRIBUTES, documented.keys(), &names);
    for (name, item) in &documented {
        // `ping_socket` is a text that serves only while it is read.
        let default = defaults.get(name).cloned().unwrap_or_default();
        check_default(ATTRIBUTES, name, item, &default);
        has_since_and_example(ATTRIBUTES, name, item);
        assert!(item.text.contains(&format!("{name}=")), "{ATTRIBUTES}: {name}: the example has another one");
    }
}

#[test]
fn variables_of_the_manual_are_those_of_the_code() {
    let (module, group) = (code("src/module.rs"), code("src/api/group.rs"));
    let mut exported = Vec::new();
    for row in rows(&module, "script_variable") {
        let (variable, list) = (text(&row[0]), row[1].rsplit("::").next().unwrap());
        let names =
            group.split_once(&format!("const {list}: &[&str] =")).unwrap().1.split_once(']').unwrap().0;
        let names = names.split('"').skip(1).step_by(2);
        exported.extend(names.map(|name| format!("${variable}({name})")));
    }
    let documented = items(VARIABLES);
    same(VARIABLES, documented.keys(), &exported);
    let page = read(VARIABLES);
    for (name, item) in &documented {
        assert!(item.text.contains("\n```kamailio"), "{VARIABLES}: {name} has no example");
        assert!(page.contains(&format!("](#{})", anchor(name))), "{VARIABLES}: its table has no {name}");
    }
}

#[test]
fn rpc_commands_of_the_manual_are_those_of_the_export_table() {
    let mut exported = BTreeMap::new();
    for row in rows(&code("src/module.rs"), "rpc_command") {
        let (needed, optional) = row[1].split_once(';').unwrap_or((&row[1], ")"));
        let needed = arguments(&format!("{})", needed.trim_end_matches(')')));
        let optional = arguments(&format!("({optional}"));
        let mut syntax = [vec![text(&row[0])], needed].concat().join(" ");
        for name in &optional {
            syntax += &format!(" [{name}");
        }
        syntax += &"]".repeat(optional.len());
        exported.insert(text(&row[0]), syntax);
    }
    let documented = items(COMMANDS);
    same(COMMANDS, documented.keys(), exported.keys());
    for (name, item) in &documented {
        assert_eq!(quoted(&item.fields["Syntax"]), [exported[name].clone()], "{COMMANDS}: {name}: Syntax");
        has_since_and_example(COMMANDS, name, item);
        assert!(item.text.contains(name.as_str()), "{COMMANDS}: {name}: the example calls another one");
    }
}

/// Each metric and its kind, as a row of the page begins.
fn metrics() -> Vec<String> {
    let after = |text: &str, mark: &str| -> Vec<String> {
        text.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
    };
    let destinations = code("src/service/report/metrics.rs");
    let figures = destinations.split_once("FIGURES: [").unwrap().1.split_once("];").unwrap().0;
    let mut exported = Vec::new();
    for name in after(figures, "name: \"") {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        // Prometheus has seconds only.
        let name = name.replace("_milliseconds", "_seconds");
        exported.push(format!("`kamailio_dispatcher_destination_{name}` | {kind}"));
    }
    let capacities = destinations.split_once("OF_CAPACITY: [").unwrap().1.split_once("];").unwrap().0;
    for name in after(capacities, "name: \"") {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        exported.push(format!("`kamailio_dispatcher_capacity_{name}` | {kind}"));
    }
    let refused = destinations.split_once("REFUSED: &str = \"").unwrap().1.split_once('"').unwrap().0;
    exported.push(format!("`{refused}` | counter"));
    let module = code("src/api/metrics.rs");
    let counters = module.split_once("OF_MODULE: [").unwrap().1.split_once("];").unwrap().0;
    for name in after(counters, "name: c\"") {
        exported.push(format!("`kamailio_dispatcher_{name}_total` | counter"));
    }
    let gauges = module.split_once("OF_LAST_AUDIT: [").unwrap().1.split_once("];\n").unwrap().0;
    for name in after(gauges, "\"last_audit") {
        exported.push(format!("`kamailio_dispatcher_last_audit{name}` | gauge"));
    }
    exported
}

#[test]
fn metrics_of_the_manual_are_those_of_the_code() {
    let page = read(METRICS);
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `kamailio_"));
    let documented: Vec<_> = rows
        .map(|row| row.split(" | ").take(2).collect::<Vec<_>>().join(" | "))
        .map(|row| format!("`kamailio_{row}"))
        .collect();
    same(METRICS, &documented, &metrics());
}

/// Each message of the code as `level: text`, with … for what changes; not those of which all changes.
fn messages(folder: &Path, into: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            messages(&path, into);
        } else if !path.ends_with("host/log.rs") {
            let code = code(path.strip_prefix(top()).unwrap().to_str().unwrap());
            for (at, _) in code.match_indices("log::") {
                let Some((level, rest)) = code[at + 5..].split_once("(format_args!(") else { continue };
                let Some(text) = rest.trim_start().strip_prefix('"') else { continue };
                if level.contains(|it: char| !it.is_ascii_lowercase()) {
                    continue;
                }
                let text = &text[..text
                    .find("\",\n")
                    .into_iter()
                    .chain(text.find("\"\n"))
                    .chain(text.find("\")"))
                    .chain(text.find("\", "))
                    .min()
                    .unwrap()];
                // A long text goes on in the next line.
                let text: Vec<_> = text.split("\\\n").map(str::trim_start).collect();
                let mut parts = text.concat();
                while let Some((from, to)) = parts.find('{').zip(parts.find('}')) {
                    parts.replace_range(from..=to, "…");
                }
                if parts.contains(|it: char| it.is_ascii_alphanumeric()) {
                    into.insert(format!("{level}: {parts}"));
                }
            }
        }
    }
}

#[test]
fn messages_of_the_manual_are_those_of_the_code() {
    const LOG: &str = "docs/log.md";
    let mut told = BTreeSet::new();
    messages(&top().join("src"), &mut told);
    // The line of the start has no word of its own.
    told.insert("info: … … for …: …, … from …".into());
    let page = read(LOG);
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let levels = ["critical", "error", "warning", "info"];
    let row = |(text, rest): (&str, &str)| {
        let level = rest.split(" | ").next()?;
        levels.contains(&level).then(|| format!("{level}: {text}"))
    };
    let documented: Vec<_> = rows.filter_map(row).collect();
    same(LOG, &documented, &told);
}

const MONITORING: &str = "docs/monitoring.md";
const RULES: &str = "docs/prometheus/rules.yml";
const RULES_TEST: &str = "tests/prometheus/rules_test.yml";

/// What stands behind each of these in a file, up to the end of the word.
fn words_behind(text: &str, mark: &str) -> BTreeSet<String> {
    let of_name = |letter: &char| letter.is_ascii_alphanumeric() || "_:".contains(*letter);
    text.split(mark).skip(1).map(|rest| rest.chars().take_while(of_name).collect()).collect()
}

#[test]
fn rules_and_dashboard_ask_for_metrics_that_exist() {
    let named = |metric: &String| metric.split('`').nth(1).unwrap().to_owned();
    let exported: BTreeSet<_> = metrics().iter().map(named).collect();
    let recorded = words_behind(&read(RULES), "record: ");
    for (file, least) in
        [(RULES, 20), (RULES_TEST, 50), ("docs/prometheus/dashboard.json", 8), (MONITORING, 5)]
    {
        let text = read(file);
        let mut seen = 0;
        for (at, _) in text.match_indices("kamailio_dispatcher_") {
            let other = |it: char| !it.is_ascii_alphanumeric() && !"_:".contains(it);
            let start = text[..at].rfind(other).map_or(0, |before| before + 1);
            let name = text[start..].split(other).next().unwrap();
            let group = text[..start].ends_with("name: ");
            assert!(group || exported.contains(name) || recorded.contains(name), "{file}: nobody has {name}");
            seen += 1;
        }
        assert!(seen >= least, "{file}: {seen}");
    }
}

#[test]
fn each_rule_is_on_the_page_and_has_its_test() {
    let (rules, tests, page) = (read(RULES), read(RULES_TEST), read(MONITORING));
    let alerts = words_behind(&rules, "alert: ");
    same(RULES_TEST, &words_behind(&tests, "alertname: "), &alerts);
    same(
        MONITORING,
        &words_behind(&page, "\n| `Dispatcher")
            .iter()
            .map(|it| format!("Dispatcher{it}"))
            .collect::<Vec<_>>(),
        &alerts,
    );
    let recorded = words_behind(&rules, "record: ");
    same(RULES_TEST, &words_behind(&tests, "- expr: "), &recorded);
    same(
        MONITORING,
        &words_behind(&page, "\n| `set:").iter().map(|it| format!("set:{it}")).collect::<Vec<_>>(),
        &recorded,
    );
}

#[test]
fn events_of_the_manual_are_those_of_the_code() {
    let code = code("src/context/event.rs");
    let names = code.split("c\"dispatcher:").skip(1).map(|rest| rest.split('"').next().unwrap());
    let exported: Vec<_> = names.map(|name| format!("dispatcher:{name}")).collect();
    let documented = items(EVENTS);
    same(EVENTS, documented.keys(), &exported);
    for (name, item) in &documented {
        assert_eq!(quoted(&item.fields["Syntax"]), [format!("event_route[{name}]")]);
        has_since_and_example(EVENTS, name, item);
    }
}

#[test]
fn every_algorithm_has_its_row() {
    let code = code("src/select/mod.rs");
    let table = code.split_once("&dyn Algorithm)] = &[").unwrap().1.split_once("];").unwrap().0;
    let number = |row: &str| {
        let name = row.split(',').next().unwrap().to_owned();
        let constant = code.split(&format!("const {name}: i32 = ")).nth(1);
        constant.map_or(name, |rest| rest.split(';').next().unwrap().to_owned())
    };
    let rows = table.lines().filter_map(|line| line.trim().strip_prefix('('));
    let exported: Vec<_> = rows.map(number).collect();
    let page = read("docs/algorithms.md");
    let first = |line: &str| Some(line.strip_prefix("| ")?.split(" |").next()?.to_owned());
    let cells = page
        .lines()
        .filter_map(first)
        .flat_map(|cell| cell.split(", ").map(|it| it.trim_matches('*').to_owned()).collect::<Vec<_>>());
    let documented: Vec<_> = cells.filter(|cell| cell.parse::<i32>().is_ok()).collect();
    same("docs/algorithms.md", &documented, &exported);
}

#[test]
fn the_version_is_that_of_the_changes_and_of_start() {
    let version = env!("CARGO_PKG_VERSION");
    let changes = read("CHANGELOG.md");
    let newest = changes.lines().find_map(|line| line.strip_prefix("## ")).unwrap();
    let date =
        newest.strip_prefix(&format!("{version} – ")).unwrap_or_else(|| panic!("not {version}: {newest}"));
    let parts: Vec<_> = date.split('-').map(|part| part.parse::<u32>().map(|it| (part.len(), it))).collect();
    assert!(matches!(parts[..], [Ok((4, 2026..)), Ok((2, 1..=12)), Ok((2, 1..=31))]), "{date}");
    let start = read("docs/start.md");
    assert!(
        start.contains(&format!("\ndispatcher (Rust) {version} for kamailio ")),
        "Start shows another version"
    );
}

// ---- links

/// The anchor that both a forge and mdBook make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect();
    kept.replace(' ', "-")
}

fn pages() -> Vec<PathBuf> {
    fn inside(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                inside(&path, into);
            } else if path.extension().is_some_and(|end| end == "md") {
                into.push(path);
            }
        }
    }
    let mut all: Vec<_> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .iter()
        .map(|name| top().join(name))
        .collect();
    inside(&top().join("docs"), &mut all);
    inside(&top().join("examples"), &mut all);
    all
}

/// A page without what stands in fences.
fn prose(page: &Path) -> String {
    let text = format!("\n{}", fs::read_to_string(page).unwrap());
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

fn anchors(page: &Path) -> HashSet<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let headings = prose(page);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let name = anchor(line.trim_start_matches('#'));
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            if *times == 1 { name } else { format!("{name}-{}", *times - 1) }
        })
        .collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let mut links = 0;
    for page in pages() {
        let text = prose(&page);
        // What stands in backquotes is no link.
        let text: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}: there is no such file", page.display());
            let known = heading.is_empty() || anchors(&target).contains(heading);
            assert!(known, "{}: {link}: there is no such heading", page.display());
        }
    }
    assert!(links > 100, "only {links} links found");
}

#[test]
fn the_book_has_each_page_of_docs_once() {
    let summary = read("docs/SUMMARY.md");
    let docs = top().join("docs");
    let paths = summary.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
    let mut listed: Vec<_> =
        paths.filter(|path| !path.starts_with("..")).map(|path| docs.join(path)).collect();
    listed.sort();
    let mut there: Vec<_> =
        pages().into_iter().filter(|page| page.starts_with(&docs) && !page.ends_with("SUMMARY.md")).collect();
    there.sort();
    assert_eq!(listed, there);
}
