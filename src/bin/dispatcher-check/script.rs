//! A look at `kamailio.cfg` for what the stock module does not know. It is a look at words, no parser: what is put together at run time
//! it does not see.

use crate::stock::knows_algorithm;
use dispatcher::dest::number::leading;

/// Something that the stock module does not know.
struct Use {
    line: usize,
    text: String,
    /// It is the number of an algorithm.
    algorithm: bool,
}

/// What a configuration uses.
pub struct Script {
    name: String,
    uses: Vec<Use>,
    /// Algorithms that stand in a variable.
    unknown: Vec<usize>,
}

/// Functions that the stock module of this Kamailio lacks.
const FUNCTIONS: [(&str, bool); 9] = [
    ("ds_drain", true),
    ("ds_drain_seconds", true),
    ("ds_undrain", true),
    ("ds_prometheus", true),
    ("ds_status_page", true),
    ("ds_mark_addr", !cfg!(stock_ping_socket)),
    ("ds_oc_set_attrs", !cfg!(stock_overload)),
    ("ds_dsg_fetch_uri", !cfg!(stock_overload)),
    ("ds_dsg_fetch", !cfg!(stock_retain_latency)),
];

/// Parameters that it lacks.
const PARAMETERS: [(&str, bool); 21] = [
    ("ds_limits", true),
    ("ds_passive_health", true),
    ("ds_eject_row", true),
    ("ds_eject_window", true),
    ("ds_eject_min_calls", true),
    ("ds_eject_share", true),
    ("ds_eject_time", true),
    ("ds_eject_max_time", true),
    ("ds_eject_trial", true),
    ("ds_max_ejected", true),
    ("ds_retry_after_max", true),
    ("ds_lean_failover", true),
    ("ds_load_auto", true),
    ("ds_state_file", true),
    ("ds_retain_state", true),
    ("ds_dns_hold", true),
    ("ds_ping_fr_timer", !cfg!(stock_ping_socket)),
    ("ds_ping_fr_timeout", !cfg!(stock_ping_socket)),
    ("ds_ping_socket", !cfg!(stock_ping_socket)),
    ("event_callback_mode", !cfg!(stock_ping_socket)),
    ("ds_retain_latency_stats", !cfg!(stock_retain_latency)),
];

/// The line without a comment. Preprocessor lines (`#!`) stay.
fn code(line: &str) -> &str {
    let (mut quote, bytes) = (None, line.as_bytes());
    for (at, &byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'#') if bytes.get(at + 1) != Some(&b'!') => return line.get(..at).unwrap_or(line),
            _ => {}
        }
    }
    line
}

/// Calls of a function in a line: its arguments without their quotes.
fn calls<'t>(line: &'t str, function: &'t str) -> impl Iterator<Item = Vec<&'t str>> + 't {
    line.match_indices(function).filter_map(move |(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let rest = line.get(at + function.len()..)?.trim_start().strip_prefix('(')?;
        if before.is_some_and(|it| it.is_alphanumeric() || it == '_') {
            return None;
        }
        let mut quote = None;
        let end = rest.find(|it: char| {
            match quote {
                Some(open) if open == it => quote = None,
                None if it == '"' || it == '\'' => quote = Some(it),
                _ => {}
            }
            quote.is_none() && it == ')'
        })?;
        let plain = |argument: &'t str| argument.trim().trim_matches(['"', '\'']);
        Some(rest.get(..end)?.split(',').map(plain).collect())
    })
}

impl Script {
    /// Looks through a configuration.
    pub fn read(name: String, text: &str) -> Self {
        let mut script = Self { name, uses: Vec::new(), unknown: Vec::new() };
        for (line, text) in text.lines().enumerate() {
            script.look_at(line + 1, code(text));
        }
        script
    }

    fn look_at(&mut self, line: usize, text: &str) {
        for function in
            ["ds_select", "ds_select_dst", "ds_select_domain", "ds_select_limit", "ds_select_dst_limit"]
        {
            for arguments in calls(text, function) {
                arguments.get(1).into_iter().for_each(|algorithm| self.algorithm(line, algorithm));
            }
        }
        for arguments in
            ["ds_select_routes", "ds_select_routes_limit"].into_iter().flat_map(|it| calls(text, it))
        {
            let rules = arguments.first().into_iter().flat_map(|rules| rules.split(';'));
            for (_, algorithm) in rules.filter_map(|rule| rule.split_once('=')) {
                self.algorithm(line, algorithm.trim());
            }
        }
        for (function, lacks) in FUNCTIONS {
            if lacks && calls(text, function).next().is_some() {
                let text = format!("{function}: it has no such function, and does not start");
                self.uses.push(Use { line, text, algorithm: false });
            }
        }
        for arguments in calls(text, "modparam") {
            let [module, name, ..] = arguments.as_slice() else { continue };
            let lacks = PARAMETERS.iter().any(|(known, lacks)| *lacks && known == name);
            if module.split('|').any(|module| module == "dispatcher") && lacks {
                let text = format!("{name}: it has no such parameter, and does not start");
                self.uses.push(Use { line, text, algorithm: false });
            }
        }
    }

    fn algorithm(&mut self, line: usize, text: &str) {
        match leading(text.as_bytes()).alone() {
            None => self.unknown.push(line),
            Some(number) if knows_algorithm(number) => {}
            Some(number) => self.uses.push(Use {
                line,
                text: format!(
                    "algorithm {number}: it has none of this number, warns, and sends every call to the first destination of the set"
                ),
                algorithm: true,
            }),
        }
    }

    /// Whether every call would go to one destination.
    pub fn uses_unknown_algorithms(&self) -> bool {
        self.uses.iter().any(|one| one.algorithm) || !self.unknown.is_empty()
    }

    /// All of it, for an operator.
    pub fn told(&self) -> Vec<String> {
        let name = &self.name;
        let mut told: Vec<_> =
            self.uses.iter().map(|one| format!("{name}:{}: {}", one.line, one.text)).collect();
        let variables = self.unknown.iter().map(|line| {
            format!("{name}:{line}: the algorithm stands in a variable: none but 0 to 13 may be in it")
        });
        told.extend(variables);
        if told.is_empty() {
            told.push(format!(
                "{name} uses no algorithm, function or parameter of the dispatcher that it does not know"
            ));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_stock_module_does_not_know_is_found_in_a_script() {
        let text = r#"
modparam("dispatcher", "ds_lean_failover", 2)
modparam("tm|dispatcher", "ds_state_file", "/x") # modparam("dispatcher", "ds_load_auto", 1)
modparam("dispatcher", "list_file", "/etc/x#y")
#!define DS_ALG 15
if (!ds_select_dst("100", "15")) exit; # ds_select_dst("1", "14")
ds_select_routes("1=10;2=14", "d");
ds_select_domain("1", "$var(alg)", "3");
ds_select_dst(1, 4);
my_ds_select_dst("1", "77");
"#;
        let script = Script::read("k.cfg".into(), text);
        let told = script.told();
        let found: Vec<_> = told.iter().map(|line| line.split(": it has").next().unwrap()).collect();
        assert_eq!(
            found,
            [
                "k.cfg:2: ds_lean_failover",
                "k.cfg:3: ds_state_file",
                "k.cfg:6: algorithm 15",
                "k.cfg:7: algorithm 14",
                "k.cfg:8: the algorithm stands in a variable: none but 0 to 13 may be in it"
            ]
        );
        assert!(script.uses_unknown_algorithms());
        let clean = Script::read("k.cfg".into(), "ds_select_dst(\"1\", \"10\");");
        assert!(!clean.uses_unknown_algorithms() && clean.told()[0].contains("uses no algorithm"));
    }
}
