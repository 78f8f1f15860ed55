//! A gateway on TLS: another Kamailio.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;

use crate::names::{SOON, becomes, first};
use crate::pace;
use crate::support::server_config::Builder;
use crate::support::{Kamailio, eventually, host, net};

/// A key, `key.pem`, with a certificate that it signs itself, `cert.pem`.
pub fn certificate() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=gw.test", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(&dir)
        .output()
        .expect("openssl can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
}

/// Listens on TLS there as well.
fn with_tls(builder: Builder, own: SocketAddr, dir: &tempfile::TempDir) -> Builder {
    let dir = dir.path().display();
    builder.tcp().module("tls").globals(&format!("enable_tls=yes\nlisten=tls:{own}\n")).modparam(&format!(
        "modparam(\"tls\", \"private_key\", \"{dir}/key.pem\")\n\
         modparam(\"tls\", \"certificate\", \"{dir}/cert.pem\")\n\
         modparam(\"tls\", \"tls_method\", \"TLSv1.2+\")"
    ))
}

const GATEWAY: &str = r#"
request_route {
	xlog("L_INFO", "GOT $rm by $proto\n");
	sl_send_reply("200", "OK");
}
"#;

#[test]
fn gateway_on_tls_is_followed() {
    if host::lacks(&["tls"]) {
        return;
    }
    let certificate = certificate();
    let [at, own] = [(); 2].map(|()| net::free_port(net::address()));
    let gateway = || with_tls(Kamailio::builder().stock().list("").route(GATEWAY), at, &certificate).start();
    let there = gateway();
    let list = format!("1 sip:{at};transport=tls 0 0 duid=gw\n");
    let mut server = with_tls(pace::probing(list, 1), own, &certificate).start();
    becomes(&server, "AP");
    assert_eq!(first(&server)["PROTOID"], json!(3));
    eventually("a probe by TLS", SOON, || !there.log_lines("GOT OPTIONS by tls").is_empty());
    there.stop();
    becomes(&server, "IP");
    let there = gateway();
    becomes(&server, "AP");
    server.assert_healthy();
    there.stop();
    server.stop();
}
