//! HAProxy's redirects, conditions and numbers, turned into ours: rows of what is written and what it means.

mod common;

use common::settled;
use sockeye_edge::config::{Does, Members, Serves};
use sockeye_settings::import::{Imported, Kind, import};

#[test]
fn a_redirect_is_of_the_listeners_that_its_condition_means() {
    for (lines, redirects, left_out) in [
        ("redirect scheme https if !{ ssl_fc }", [true, false], false),
        ("redirect scheme https code 301 unless { ssl_fc }", [true, false], false),
        ("http-request redirect scheme https unless { ssl_fc }", [true, false], false),
        ("acl by_tls ssl_fc\n redirect scheme https if !by_tls", [true, false], false),
        ("redirect scheme https", [true, false], false),
        ("redirect prefix https://io.example.com if !{ ssl_fc }", [true, false], false),
        ("redirect prefix https://io.example.com", [true, true], false),
        ("redirect scheme https if { hdr(x-forwarded-proto) http }", [false, false], true),
        ("redirect scheme https if !{ ssl_fc } !{ path_beg /health }", [false, false], true),
        ("redirect scheme https if { path_beg /a } or !{ ssl_fc }", [false, false], true),
        ("redirect prefix https://io.example.com/app", [false, false], true),
        ("http-request set-header X-Forwarded-Proto https if { ssl_fc }", [false, false], false),
    ] {
        let imported = import(
            Kind::HaProxy,
            &format!(
                "frontend f\n bind *:80\n bind *:443 ssl crt x.pem alpn h2,http/1.1\n {lines}\n default_backend b\nbackend b\n server one 10.0.0.1:1\n"
            ),
        );
        let edge = settled(&imported.text).edge;
        let found: Vec<bool> =
            edge.listeners.iter().map(|one| http(&one.serves).redirect.is_some()).collect();
        assert_eq!(found, redirects, "{lines}\n{}", imported.text);
        assert_eq!(says(&imported, "is left out"), left_out, "{lines}: {:?}", imported.notes);
        let leading: Vec<bool> = edge
            .listeners
            .iter()
            .map(|one| {
                edge.sites.iter().any(|site| {
                    site.listeners == [one.name.clone()] && site.does == Does::Relay { group: "b".into() }
                })
            })
            .collect();
        assert_eq!(
            leading,
            found.iter().map(|redirects| !redirects).collect::<Vec<_>>(),
            "{}",
            imported.text
        );
        assert!(edge.listeners[1].tls.is_some() && http(&edge.listeners[1].serves).http2);
    }
}

#[test]
fn conditions_on_host_path_and_upgrade_become_sites() {
    type Row<'a> = (&'a str, &'a [(&'a [&'a str], &'a str, Option<bool>, &'a str)]);
    let rows: [Row<'_>; 9] = [
        ("use_backend ws if { hdr(Upgrade) -i websocket }", &[(&[], "/", Some(true), "ws")]),
        (
            "acl a hdr(Connection) -i upgrade\n acl b hdr(upgrade) -i WebSocket\n use_backend ws if a b",
            &[(&[], "/", Some(true), "ws")],
        ),
        ("use_backend ws if !{ req.hdr(Upgrade) -i websocket }", &[(&[], "/", Some(false), "ws")]),
        ("use_backend ws if { hdr(host) -i X.com y.com }", &[(&["x.com", "y.com"], "/", None, "ws")]),
        (
            "acl h hdr(host) -i x.com\n acl h hdr_end(host) -i .y.com\n use_backend ws if h",
            &[(&["x.com", "*.y.com"], "/", None, "ws")],
        ),
        ("use_backend ws if { path_beg /x /y }", &[(&[], "/x", None, "ws"), (&[], "/y", None, "ws")]),
        (
            "use_backend ws if { hdr(host) x.com } { path_beg /x } || { path_beg /z }",
            &[(&["x.com"], "/x", None, "ws"), (&[], "/z", None, "ws")],
        ),
        ("use_backend ws if { src 10.0.0.0/8 }", &[]),
        ("acl a path_end .js\n use_backend ws if a", &[]),
    ];
    for (lines, expected) in rows {
        let imported = import(
            Kind::HaProxy,
            &format!(
                "frontend f\n bind *:80\n {lines}\n default_backend b\nbackend b\n server one 10.0.0.1:1\nbackend ws\n server one 10.0.0.2:1\n"
            ),
        );
        let edge = settled(&imported.text).edge;
        let sites: Vec<_> = edge
            .sites
            .iter()
            .map(|site| {
                let Does::Relay { group } = &site.does else { panic!("a group: {lines}") };
                let hosts: Vec<&str> = site.hosts.iter().map(String::as_str).collect();
                (hosts, site.path.as_str(), site.upgrade, group.as_str())
            })
            .collect();
        let mut all: Vec<_> = expected.iter().map(|(hosts, p, u, g)| (hosts.to_vec(), *p, *u, *g)).collect();
        all.push((vec![], "/", None, "b"));
        assert_eq!(sites, all, "{lines}\n{}", imported.text);
        assert_eq!(says(&imported, "is left out"), expected.is_empty(), "{lines}: {:?}", imported.notes);
    }
}

#[test]
fn sites_of_one_frontend_are_not_those_of_another_and_redirects_know_the_hosts() {
    let imported = import(
        Kind::HaProxy,
        "frontend in\n bind *:80\n bind *:443 ssl crt x.pem\n redirect scheme https if !{ ssl_fc }\n use_backend b if { hdr(host) -i io.example.com }\n\
         frontend other\n mode http\n bind *:8080\n default_backend b\nbackend b\n server one 10.0.0.1:1\n",
    );
    let edge = settled(&imported.text).edge;
    let redirect = http(&edge.listeners[0].serves).redirect.clone().unwrap();
    assert_eq!(redirect.server_names, ["io.example.com"]);
    assert_eq!(
        (edge.sites[0].listeners.clone(), edge.sites[0].hosts.clone()),
        (vec!["listen-1".to_owned()], vec!["io.example.com".to_owned()])
    );
    assert!(!says(&imported, "server_names"), "{:?}", imported.notes);
}

#[test]
fn a_backend_for_websockets_on_the_same_servers_is_the_same_group() {
    let imported = import(
        Kind::HaProxy,
        "frontend f\n bind *:80\n use_backend ws if { hdr(Upgrade) -i websocket }\n default_backend b\nbackend b\n server one 10.0.0.1:1\nbackend ws\n server two 10.0.0.1:1\n",
    );
    let edge = settled(&imported.text).edge;
    assert_eq!(edge.groups.len(), 1, "{}", imported.text);
    assert!(edge.sites.iter().all(|site| site.does == Does::Relay { group: "b".into() }));
    assert!(says(&imported, "one state of health"), "{:?}", imported.notes);
}

#[test]
fn numbers_and_options_are_taken_over_or_said() {
    let imported = import(
        Kind::HaProxy,
        "global\n maxconn 5000\ndefaults\n default-server check fall 2 maxconn 100\nlisten chat\n mode tcp\n bind *:80\n server a 10.0.0.1:1 maxconn 200\n server b 10.0.0.2:1 disabled ssl verify none\n server c 10.0.0.3:1 maxconn 0\n",
    );
    let settled = settled(&imported.text);
    let Members::Static(servers) = &settled.edge.groups[0].members else { panic!("static") };
    let found: Vec<_> = servers.iter().map(|one| one.sessions_max.map(u32::from)).collect();
    assert_eq!(found, [Some(200), Some(100), None], "{}", imported.text);
    assert!(imported.text.contains("[limits]\nconnections = 5000\n"), "{}", imported.text);
    assert!(imported.text.contains("state = \"maintenance\""), "{}", imported.text);
    assert!(matches!(settled.edge.listeners[0].serves, Serves::Tcp { .. }), "mode stands before bind");
    let notes: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    assert_eq!(notes, ["line 9: ssl verify none has no counterpart"]);
}

#[track_caller]
fn http(serves: &Serves) -> &sockeye_edge::config::Http {
    let Serves::Http(http) = serves else { panic!("http") };
    http
}

fn says(imported: &Imported, words: &str) -> bool {
    imported.notes.iter().any(|note| note.text.contains(words))
}
