//! What `kamcmd` shows beside the stock module: the same text.

use crate::support::server_config::Builder;
use crate::support::transports::kamcmd;
use crate::support::{Kamailio, host};

/// One set, and no two of a priority: their order is a difference between both, after an addition too.
const LIST: &str = "\
    2 sip:127.0.2.1:5061;transport=tcp 1 7\n\
    2 sip:127.0.2.2:5060 8 8 weight=50;\n\
    2 sip:127.0.2.3:5062 2 9 duid=b;my=y;obproxy=sip:127.0.0.7\n\
    2 sip:127.0.2.5:5070 0 4 duid=six;maxload=5;rweight=3;note=x\n\
    2 sips:127.0.2.4:5061 16 3\n";

/// A command each. Numbers as `kamcmd` takes them: what looks like one is one, unless `s:` is before it.
const COMMANDS: &[&str] = &[
    "dispatcher.list",
    "dispatcher.list short",
    "dispatcher.list full",
    "dispatcher.list FULL",
    "dispatcher.list what",
    "dispatcher.set_state i 2 sip:127.0.2.2:5060",
    "dispatcher.list",
    "dispatcher.set_state ip 2 all",
    "dispatcher.list",
    "dispatcher.set_state s:0 2 sip:127.0.2.5:5070",
    "dispatcher.set_state tp 2 sip:127.0.2.1:5061;transport=tcp",
    "dispatcher.set_state d 2 sip:127.0.2.3:5062",
    "dispatcher.list",
    "dispatcher.set_state x 2 sip:127.0.2.3:5062",
    "dispatcher.set_state a 2 sip:nobody",
    "dispatcher.set_state a 9 sip:127.0.2.3:5062",
    "dispatcher.ping_active",
    "dispatcher.ping_active 0",
    "dispatcher.ping_active",
    "dispatcher.ping_active 1",
    "dispatcher.hash 8 alice",
    "dispatcher.hash 8 alice example.com",
    "dispatcher.add 2 sip:127.0.2.9:5060",
    "dispatcher.list",
    "dispatcher.add 2 sip:127.0.2.8:5060 8 5 duid=e;weight=7",
    "dispatcher.list",
    "dispatcher.remove 2 sip:127.0.2.9:5060",
    "dispatcher.list",
    "dispatcher.reload",
    "dispatcher.list",
    "dispatcher.list full",
];

fn with_ctl(builder: Builder) -> Kamailio {
    let modparams = "modparam(\"ctl\", \"binrpc\", \"unixs:RUN_DIR/ctl\")\n\
                     modparam(\"dispatcher\", \"reload_delta\", 0)\n\
                     modparam(\"dispatcher\", \"ds_hash_size\", 8)";
    builder.list(LIST).module("ctl").modparam(modparams).start()
}

/// What it shows, without the structure `HEALTH` that only we have, and without ids, which each server has of its own.
#[track_caller]
fn shown(server: &Kamailio, command: &str) -> String {
    let dir = server.run_dir();
    let (text, errors) = kamcmd(&format!("unixs:{}/ctl", dir.display()), dir, &format!("{command}\n"));
    let mut depth = 0;
    let mut kept = Vec::new();
    for line in text.lines() {
        let word = line.trim();
        if depth == 0 && word.starts_with("IUID: ") {
            continue;
        }
        if depth == 0 && word != "HEALTH: {" {
            // Each change drops P from all, where it drops it at all.
            kept.push(if word.starts_with("FLAGS: ") { host::unprobed(line) } else { line.to_owned() });
            continue;
        }
        depth += usize::from(word.ends_with('{'));
        depth -= usize::from(word == "}");
    }
    kept.join("\n") + &errors
}

#[test]
fn commands_show_the_same_by_kamcmd() {
    // The stock module forgets states with each reload.
    let ours = with_ctl(Kamailio::builder().modparam("modparam(\"dispatcher\", \"ds_retain_state\", 0)"));
    let stock = with_ctl(Kamailio::builder().stock());
    for (at, command) in COMMANDS.iter().enumerate() {
        let [ours, stock] = [&ours, &stock].map(|server| shown(server, command));
        let first = ours.lines().zip(stock.lines()).find(|(one, other)| one != other);
        assert!(ours == stock, "command {at}, {command}, first {first:?}:\n{ours}\n--- stock\n{stock}");
    }
    assert!(shown(&ours, "dispatcher.list").contains("URI: sip:127.0.2.5:5070"));
    ours.stop();
}

/// What `kamcmd` takes of one answer, 128 KiB, holds as many destinations of a short list as the stock module's.
#[test]
fn short_list_is_as_long_as_the_stock_modules() {
    // One set holds 1024 at most, whoever writes it: what its list takes without what is in it has a limit of its own.
    // Where each has an id there is room for fewer.
    let size = if cfg!(stock_iuid) { 1000 } else { 2000 };
    let line = |n: usize| format!("{} sip:127.0.{}.{}:5060\n", n % 4, n / 200, n % 200 + 1);
    let list: String = (0..size).map(line).collect();
    let start = |builder: Builder| {
        let ctl = r#"modparam("ctl", "binrpc", "unixs:RUN_DIR/ctl")"#;
        builder.list(list.clone()).module("ctl").modparam(ctl).start()
    };
    let ours = start(Kamailio::builder());
    let stock = start(Kamailio::builder().stock().modparam(r#"modparam("dispatcher", "ds_hash_size", 0)"#));
    let [one, other] = [&ours, &stock].map(|server| shown(server, "dispatcher.list short"));
    assert_eq!(one.matches("URI: ").count(), size, "{one:.300}");
    assert_eq!(one.len(), other.len());
    ours.stop();
}
