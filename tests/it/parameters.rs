//! A configuration written for any release from 5.4 to 6.1 starts.

use crate::support::{Kamailio, net};

/// Every parameter of the manuals of releases 5.4, 5.5, 5.6, 5.7, 5.8, 6.0 and 6.1, with a value as they show it; but for
/// `db_url`, which takes the place of the list file, and `event_callback`, which wants a language (both have their tests).
const ALL: &[(&str, &str)] = &[
    ("table_name", "\"my_dispatcher\""),
    ("setid_col", "\"groupid\""),
    ("destination_col", "\"uri\""),
    ("flags_col", "\"dstflags\""),
    ("priority_col", "\"dstpriority\""),
    ("attrs_col", "\"dstattrs\""),
    ("ds_db_extra_attrs", "\"socket=socket;pref=prefix\""),
    ("ds_attrs_none", "1"),
    ("ds_load_mode", "1"),
    ("force_dst", "1"),
    ("flags", "3"),
    ("use_default", "1"),
    ("xavp_dst", "\"_dsdst_\""),
    ("xavp_dst_mode", "2"),
    ("xavp_ctx", "\"_dsctx_\""),
    ("xavp_ctx_mode", "1"),
    ("hash_pvar", "\"hash the $fU@$ci\""),
    ("setid_pvname", "\"$var(setid)\""),
    ("attrs_pvname", "\"$var(attrs)\""),
    ("ds_ping_method", "\"INFO\""),
    ("ds_ping_from", "\"sip:proxy@sip.somehost.com\""),
    ("ds_ping_interval", "30"),
    ("ds_ping_latency_stats", "1"),
    ("ds_latency_estimator_alpha", "900"),
    ("ds_retain_latency_stats", "1"),
    ("ds_probing_threshold", "10"),
    ("ds_inactive_threshold", "10"),
    ("ds_ping_reply_codes", "\"class=2;code=403;code=488;class=3\""),
    ("ds_ping_fr_timer", "3000"),
    ("ds_ping_fr_timeout", "3000"),
    ("ds_probing_mode", "1"),
    ("ds_hash_size", "9"),
    ("ds_hash_expire", "3600"),
    ("ds_hash_initexpire", "60"),
    ("ds_hash_check_interval", "60"),
    ("ds_timer_mode", "1"),
    ("ds_dns_mode", "2"),
    ("ds_dns_interval", "1800"),
    ("ds_dns_ttl", "7200"),
    ("ds_dns_match_all", "1"),
    ("event_callback_mode", "1"),
    ("outbound_proxy", "\"sip:127.0.0.9\""),
    ("reload_delta", "5"),
];

#[test]
fn every_parameter_of_releases_5_4_to_6_1_is_taken() {
    let socket = net::free_port(net::address());
    let by_address = format!("\"udp:{socket}\"");
    let sockets = [
        ("ds_default_socket", by_address.clone()),
        ("ds_ping_socket", by_address),
        ("ds_default_sockname", "\"sock1\"".to_owned()),
    ];
    let all = ALL.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(sockets);
    let lines: Vec<_> =
        all.map(|(name, value)| format!("modparam(\"dispatcher\", \"{name}\", {value})")).collect();
    let mut server = Kamailio::builder()
        .list("1 sip:127.0.1.1:5060 0 0 duid=a\n")
        .globals(&format!("listen=udp:{socket} name \"sock1\""))
        .modparam(&lines.join("\n"))
        .start();
    assert_eq!(server.list().len(), 1);
    server.assert_healthy();
    server.stop();
}
