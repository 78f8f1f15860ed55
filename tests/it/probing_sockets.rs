//! Where probes are sent from, and one URI through two sockets.

use std::net::SocketAddr;

use crate::calls::assert_quiet;
use crate::support::{Behaviour, Probed, net};
use crate::watch::{become_all, choices, more_probes, probing, set_text, told, told_so_many};

/// Sockets for a server to listen on besides its own.
fn sockets<const N: usize>() -> [SocketAddr; N] {
    std::array::from_fn(|_| net::free_port(net::address()))
}

/// `listen` lines for them, with the names s0, s1, …
fn listens(sockets: &[SocketAddr]) -> String {
    let line = |(n, socket): (usize, &SocketAddr)| format!("listen=udp:{socket} name \"s{n}\"\n");
    sockets.iter().enumerate().map(line).collect()
}

#[test]
fn probe_leaves_from_the_socket_that_is_nearest_to_it() {
    let [of_probe, own, named, of_probes, of_all] = sockets();
    let gateways = Probed::start();
    let attributes = [
        format!(";ping_socket=udp:{of_probe};socket=udp:{own}"),
        format!(";ping_socket=udp:{of_probe};sockname=s2"),
        format!(";socket=udp:{own}"),
        ";sockname=s2".into(),
        format!(";sockname=s2;socket=udp:{own}"),
        String::new(),
    ];
    let line = |(n, more): (usize, &String)| format!("1 {} 0 0 duid=gw{n}{more}\n", gateways.uri_of(n));
    let list: String = attributes.iter().enumerate().map(line).collect();
    let by_address = ("ds_default_socket", format!("udp:{of_all}"));
    let by_name = ("ds_default_sockname", "s4".to_owned());
    for (probes_have_one, (name, default)) in
        [(true, by_address.clone()), (false, by_address), (false, by_name)]
    {
        gateways.forget();
        let mut builder = probing(1, &list).globals(&listens(&[of_probe, own, named, of_probes, of_all]));
        builder = set_text(builder, name, &default);
        if probes_have_one {
            builder = set_text(builder, "ds_ping_socket", &format!("udp:{of_probes}"));
        }
        let server = builder.start();
        become_all(&server, &["AP"; 6]);
        let last = if probes_have_one { of_probes } else { of_all };
        for (n, socket) in [of_probe, of_probe, own, named, named, last].into_iter().enumerate() {
            let sources: Vec<_> =
                gateways.probes_of(&format!("gw{n}")).iter().map(|probe| probe.source()).collect();
            assert!(
                !sources.is_empty() && sources.iter().all(|one| *one == socket),
                "gw{n}: {sources:?}, not {socket}"
            );
        }
        server.stop();
    }
}

#[test]
fn one_uri_through_two_sockets_is_two_destinations() {
    for bad in [Behaviour::Answer(403, "Not From Here"), Behaviour::Silent] {
        let both: [SocketAddr; 2] = sockets();
        let gateway = Probed::start();
        gateway.behave_to(both[0], bad);
        let line = |socket: SocketAddr| format!("1 {} 0 0 socket=udp:{socket}\n", gateway.uri());
        let server = probing(1, both.map(line).concat()).globals(&listens(&both)).start();
        become_all(&server, &["IP", "AP"]);
        let from = |socket| gateway.probes().iter().filter(|probe| probe.source() == socket).count();
        assert!(both.iter().all(|&socket| from(socket) > 0));
        assert_eq!(choices(&server, 4, 2), vec![gateway.uri(); 2]);
        more_probes(&gateway, 4);
        become_all(&server, &["IP", "AP"]);
        told(&server, &[format!("down {}", gateway.uri())]);

        gateway.behave_to(both[0], Behaviour::Answer(200, "OK"));
        gateway.behave_to(both[1], bad);
        become_all(&server, &["AP", "IP"]);
        told_so_many(&server, 3);
        assert_quiet(&server.stop());
    }
}
