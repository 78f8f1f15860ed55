//! Calls that count themselves (`ds_load_auto`) in Lua and Python, with failover, by algorithms that do not count of themselves.

use std::time::Duration;

use crate::calls::{self, FAILOVER, all_over, loads, with};
use crate::calls_kemi::routing;
use crate::support::counting::{Counting, counted};
use crate::support::language::Language;
use crate::support::{Gateways, Kamailio, eventually};

const SOON: Duration = Duration::from_secs(10);

fn failover_moves_the_count(language: Language, algorithm: &str, more: &str) {
    if language.is_missing() {
        return;
    }
    counted(Counting::Followed, || {
        // The first two refuse what is not for them.
        let gateways =
            Gateways::start(3, |gateway, request| match (request.method(), request.header("X-Answer")) {
                (Some("INVITE"), Some("180")) if gateway == 2 => vec![180],
                (Some("INVITE"), Some("none")) => vec![503],
                (Some("INVITE"), _) if gateway < 2 => vec![503],
                (Some("INVITE"), _) => vec![180, 200],
                (Some("CANCEL"), _) => vec![487],
                _ => vec![200],
            });
        let by = format!("ds_select_dst(set, {algorithm})");
        let text = routing(language, FAILOVER).replace("ds_select_dst(set, 10)", &by).replace(
            "ds_select_dst(int(KSR.pv.gete(\"$hdr(X-Set)\") or 100), 10)",
            &by.replace("set", "100"),
        );
        assert!(text.contains(&format!(", {algorithm})")), "{text}");
        let builder = Kamailio::builder().workers(8).list(gateways.list(100, "weight=33"));
        let builder = builder.modparam(&format!("modparam(\"dispatcher\", \"flags\", 2)\n{more}"));
        let server = language.script(builder, &text).start();
        let mut agent = server.agent();
        let mut held = Vec::new();
        for n in 1..=6 {
            let mut call = agent.call();
            assert_eq!(agent.place(&mut call).status(), Some(200));
            eventually("it counts where it was answered", SOON, || loads(&server, 3) == [0, 0, n]);
            held.push(call);
        }
        assert!(gateways.counts("INVITE")[..2].iter().sum::<usize>() > 0);
        calls::hang_up_all(&mut agent, &mut held);
        assert_eq!(loads(&server, 3), [0, 0, 0]);
        let mut call = with(agent.call(), "X-Answer", "none");
        assert_eq!(agent.place(&mut call).status(), Some(500));
        assert_eq!(loads(&server, 3), [0, 0, 0]);
        let mut call = with(agent.call(), "X-Answer", "180");
        agent.ring(&mut call);
        eventually("it rings", SOON, || loads(&server, 3) == [0, 0, 1]);
        assert_eq!(agent.cancel(&mut call), 487);
        assert_eq!(loads(&server, 3), [0, 0, 0]);
        all_over(server);
    });
}

#[test]
fn failover_in_lua_moves_the_count_of_any_algorithm() {
    for algorithm in ["4", "0", "9"] {
        failover_moves_the_count(Language::Lua, algorithm, "");
    }
    failover_moves_the_count(Language::Lua, "4", "modparam(\"dispatcher\", \"ds_lean_failover\", 1)");
}

#[test]
fn failover_in_python_moves_the_count_of_any_algorithm() {
    failover_moves_the_count(Language::Python, "4", "");
    failover_moves_the_count(Language::Python, "0", "modparam(\"dispatcher\", \"ds_lean_failover\", 2)");
}
