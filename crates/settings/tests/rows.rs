//! Files and what they mean, and many that mean nothing: each complaint with its place, key, value and fix.

mod common;

use std::time::Duration;

use common::{refused, settled};
use sockeye_edge::config::{
    Affinity, Algorithm, Check, CookieMode, DnsRecord, Does, Endpoint, LogFormat, Members, ProxyVersion,
    RedirectStatus, SameSite, ServerState, Serves,
};
use sockeye_settings::Token;

#[test]
fn one_line_is_useful() {
    let chat = settled("");
    assert_eq!((chat.apps.len(), chat.edge.listeners[0].at.to_string().as_str()), (1, "127.0.0.1:3000"));
    let port = settled("listen = ':80'");
    assert_eq!((port.apps.len(), port.edge.listeners[0].at.to_string().as_str()), (1, "0.0.0.0:80"));
    let balancer = settled("upstream = ['app01:3000', 'app02:3000']");
    assert_eq!(balancer.apps, []);
    let Members::Static(servers) = &balancer.edge.groups[0].members else { panic!("static") };
    assert_eq!(
        servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(),
        ["app01:3000", "app02:3000"]
    );
    assert_eq!(balancer.edge.groups[0].affinity, [Affinity::Sid]);
    assert_eq!(balancer.edge.sites[0].does, Does::Relay { group: "upstream".into() });
}

#[test]
fn a_whole_file_is_settled() {
    let edge = settled(WHOLE).edge;
    let [first, second, third] = &edge.listeners[..] else { panic!("three listeners") };
    let tls = first.tls.as_ref().unwrap();
    assert_eq!(tls.certificates[0].certificate.to_str(), Some("/etc/sockeye/cert.pem"));
    assert_eq!(tls.certificates[0].key.to_str(), Some("/keys/key.pem"));
    let Serves::Http(http) = &second.serves else { panic!("http") };
    let redirect = http.redirect.as_ref().unwrap();
    assert_eq!((redirect.status, redirect.scheme.as_str()), (RedirectStatus::Permanent, "https"));
    assert_eq!((&redirect.server_names[..], redirect.port), (&["io.example.com".to_owned()][..], None));
    assert_eq!((second.name.as_str(), second.proxy_from.len()), ("plain", 1));
    assert_eq!(third.serves, Serves::Tcp { group: "chat".into(), send_proxy: Some(ProxyVersion::V2) });
    assert_eq!((third.name.as_str(), third.tls.as_ref().unwrap().certificates.len()), ("listen-2", 1));
}

#[test]
fn the_groups_and_sites_of_a_whole_file_are_settled() {
    let all = settled(WHOLE);
    let edge = all.edge;
    let [api, chat] = &edge.groups[..] else { panic!("two groups") };
    assert_eq!(
        api.members,
        Members::Dns {
            name: "api.internal".into(),
            record: DnsRecord::Address(8080),
            every: Duration::from_secs(10)
        }
    );
    assert_eq!(api.affinity, [Affinity::Address { three_octets: true, bound_percent: 0 }]);
    let Members::Static(servers) = &chat.members else { panic!("static") };
    assert_eq!(
        (servers[0].name.as_str(), servers[0].weight.get(), servers[0].state),
        ("app01", 3, ServerState::Drain)
    );
    assert_eq!(servers[1].at, Endpoint::Unix("/run/b.sock".into()));
    let [Affinity::Sid, Affinity::Cookie(cookie)] = &chat.affinity[..] else { panic!("sid and cookie") };
    assert_eq!(
        (cookie.mode, cookie.same_site, cookie.secure),
        (CookieMode::Prefix, Some(SameSite::None), Some(true))
    );
    assert_eq!(
        (cookie.expires, cookie.domain.as_deref()),
        (Some(Duration::from_secs(3600)), Some(".example.com"))
    );
    assert_eq!(chat.algorithm, Algorithm::TwoChoices);
    let Check::Http(probe) = &chat.health.check else { panic!("a request") };
    assert_eq!((probe.method.as_str(), probe.path.as_str(), probe.status), ("HEAD", "/health", (200, 200)));
    assert_eq!((chat.health.rise.get(), chat.health.fall.get()), (1, 3));
    assert_eq!(chat.timeouts.tunnel, Some(Duration::from_secs(120)));
    assert_eq!(edge.sites.len(), 2);
    assert_eq!((edge.sites[0].hosts[0].as_str(), edge.sites[0].path.as_str()), ("*.example.com", "/api"));
    assert_eq!(
        edge.sites[1].does,
        Does::Files { root: "/etc/sockeye/public".into(), group: Some("chat".into()) }
    );
    assert_eq!(edge.access_log.unwrap().format, LogFormat::Json);
    assert_eq!(all.admin.address, Some(Endpoint::Unix("/run/admin.sock".into())));
}

#[test]
fn the_sticky_modes_of_the_field_have_their_words() {
    for (sticky, affinity) in [
        ("'sid'", vec![Affinity::Sid]),
        ("'ip'", vec![Affinity::Address { three_octets: false, bound_percent: 125 }]),
        ("'ip_hash'", vec![Affinity::Address { three_octets: true, bound_percent: 125 }]),
        ("'xff'", vec![Affinity::ForwardedFor]),
        ("'header:X-User'", vec![Affinity::Header("x-user".into())]),
        ("'none'", vec![]),
        ("['sid', 'xff']", vec![Affinity::Sid, Affinity::ForwardedFor]),
    ] {
        let all = settled(&format!("[upstream.a]\nservers = ['10.0.0.1:1']\nsticky = {sticky}"));
        assert_eq!(all.edge.groups[0].affinity, affinity, "{sticky}");
    }
}

#[test]
fn what_is_wrong_names_file_line_key_value_and_fix() {
    for (text, complaint) in WRONG {
        assert_eq!(refused(text), *complaint);
    }
}

#[test]
fn what_is_wrong_with_a_group_names_it() {
    for (line, complaint) in WRONG_GROUPS {
        assert_eq!(refused(&format!("[upstream.a]\nservers = ['10.0.0.1:1']\n{line}")), *complaint);
    }
}

#[test]
fn what_a_tcp_listener_cannot_read_names_no_server() {
    let tcp = "[[listen]]\nmode = 'tcp'\nupstream = 'a'\n";
    let group = |sticky: &str| format!("[upstream.a]\nservers = ['10.0.0.1:1', '10.0.0.2:1']\n{sticky}\n");
    for (listen, sticky, line) in [
        (tcp.to_owned(), "sticky = 'cookie'", 6),
        (tcp.to_owned(), "sticky = ['sid', 'header:x']", 6),
        (
            format!("{tcp}[[listen]]\naddress = ':80'\nredirect = 'https'\nserver_names = ['a.b']\n"),
            "sticky = 'sid'",
            10,
        ),
    ] {
        let told = refused(&format!("{listen}{}", group(sticky)));
        assert!(
            told.starts_with(&format!(
                "f.toml:{line}:10: upstream.a.sticky: only listeners with mode = \"tcp\" lead here"
            )),
            "{told}"
        );
    }
    for (listen, sticky) in [
        (tcp.to_owned(), ""),
        (tcp.to_owned(), "sticky = 'none'"),
        (tcp.to_owned(), "sticky = ['sid', 'ip']"),
        (format!("{tcp}[[listen]]\naddress = ':80'\n"), "sticky = 'cookie'"),
    ] {
        settled(&format!("{listen}{}", group(sticky)));
    }
}

#[test]
fn several_things_that_are_wrong_are_told_at_once() {
    let told = refused("lisen = 1\n[limits]\nconnections = 0\nheadsize = 1");
    assert_eq!(told.lines().count(), 3, "{told}");
}

#[test]
fn a_variable_counts_more_than_the_file() {
    let variables = [
        ("SOCKEYE_UPSTREAM__CHAT__STICKY", "xff,sid"),
        ("SOCKEYE_LISTEN", "[::1]:80"),
        ("SOCKEYE_TRUST", "10.0.0.0/8, ::1"),
    ];
    let all = common::with("[upstream.Chat]\nservers = ['10.0.0.1:1']\nsticky = 'ip'", &variables).unwrap();
    assert_eq!(all.edge.groups[0].affinity, [Affinity::ForwardedFor, Affinity::Sid]);
    assert_eq!(all.edge.listeners[0].at.to_string(), "[::1]:80");
    assert_eq!(all.edge.trust.len(), 2);
    for (variable, value, complaint) in [
        (
            "SOCKEYE_LISTEN__ADDRESS",
            "x",
            "$SOCKEYE_LISTEN__ADDRESS: listen.address = x: expected an address to listen on",
        ),
        (
            "SOCKEYE_LISTEN__ADRESS",
            ":1",
            "$SOCKEYE_LISTEN__ADRESS: listen.adress: there is no such key, did you mean address?",
        ),
        (
            "SOCKEYE_LIMITS__CONNECTIONS",
            "many",
            "$SOCKEYE_LIMITS__CONNECTIONS: limits.connections = many: expected a number",
        ),
        ("SOCKEYE_ADMIN__TOKEN", "secret", "$SOCKEYE_ADMIN__TOKEN: admin.token: expected at least 16"),
    ] {
        let told = common::with("", &[(variable, value)]).unwrap_err();
        assert!(told.starts_with(complaint), "{told}");
    }
}

#[test]
fn an_app_has_what_a_process_file_says_and_a_listener_where_it_names_a_port() {
    let variables = [
        ("SOCKEYE_APP__SHOP__INSTANCES", "2"),
        ("SOCKEYE_APP__SHOP__ENV__NODE_ENV", "production"),
        ("SOCKEYE_APP__SHOP__PORT", "8080"),
        ("SOCKEYE_APP__SHOP__STOP_EXIT_CODES", "3,4"),
    ];
    let all = common::with("[app.shop]\ncommand = 'shop.js'\nkill_timeout = '3s'", &variables).unwrap();
    let app = &all.apps[0];
    assert_eq!((app.name.as_str(), app.bundled, app.spec.command.as_str()), ("shop", None, "shop.js"));
    assert_eq!(app.spec.instances.unwrap().to_string(), "2");
    assert_eq!(
        (app.spec.env["NODE_ENV"].as_str(), &app.spec.stop_exit_codes[..]),
        ("production", &[3, 4][..])
    );
    assert_eq!(all.edge.listeners.len(), 1);
    assert_eq!(all.edge.listeners[0].at.to_string(), "127.0.0.1:8080");
    assert_eq!(all.edge.sites[0].does, Does::Relay { group: "shop".into() });
}

#[test]
fn programs_alone_ask_for_their_addresses_themselves() {
    let apps = "[app.a]\ncommand = 'a.js'\n[app.b]\ncommand = 'b.js'\n";
    let all = settled(apps);
    assert_eq!((all.edge.listeners.len(), all.edge.sites.len(), all.apps.len()), (0, 0, 2));
    let led = settled("listen = ':80'\n[app.a]\ncommand = 'a.js'\n");
    assert_eq!((led.edge.listeners.len(), &led.edge.sites[0].does), (1, &Does::Relay { group: "a".into() }));
}

#[test]
fn what_has_to_be_open_is_listed_and_loopback_is_not() {
    let all = settled(
        r#"
        [[listen]]
        address = ":443"
        tls = true
        [[listen]]
        address = ":12345"
        redirect = "https"
        proxy_protocol_from = ["10.0.0.0/8"]
        [[listen]]
        address = "127.0.0.1:3000"
        [[listen]]
        address = ":11111"
        mode = "tcp"
        upstream = "nodes"
        [tls]
        certificate = "a"
        key = "b"
        [upstream.nodes]
        servers = ["app01:3000", "127.0.0.1:3001", "unix:/run/a.sock"]
        [cluster]
        adapter = "redis://user:secret@10.0.0.9:6379/1"
        node_link = "10.0.0.7:7000"
        node_link_cert = "node.pem"
        node_link_key = "node.key"
        node_link_ca = "/etc/ca.pem"
        "#,
    );
    let ports: Vec<_> = all
        .ports()
        .iter()
        .map(|port| (port.inbound, port.address.clone(), port.purpose.clone(), port.whom.clone()))
        .collect();
    let row = |inbound, address: &str, purpose: &str, whom: &str| {
        (inbound, address.to_owned(), purpose.to_owned(), whom.to_owned())
    };
    assert_eq!(
        ports,
        [
            row(true, "0.0.0.0:443", "main: HTTPS and secure WebSocket", "clients"),
            row(true, "0.0.0.0:12345", "listen-1: redirect", "10.0.0.0/8"),
            row(true, "0.0.0.0:11111", "listen-3: TCP to nodes", "clients"),
            row(true, "10.0.0.7:7000", "node link", "the other machines of the cluster"),
            row(false, "10.0.0.1:3000", "upstream nodes", ""),
            row(false, "10.0.0.9:6379", "backplane", ""),
        ]
    );
}

#[test]
fn a_token_is_never_printed() {
    let all = settled("[admin]\ntoken = '0123456789abcdef'");
    assert_eq!(all.admin.token, Some(Token::Text("0123456789abcdef".into())));
    assert!(!format!("{all:?}").contains("0123456789abcdef"));
}

/// Files, and what is told of them.
const WRONG: &[(&str, &str)] = &[
    (
        "listen = 80.5",
        "f.toml:1:10: listen = 80.5: expected an address to listen on, such as \"0.0.0.0:80\", \":80\" for all addresses, \"127.0.0.1:3000\" or \"unix:/run/app.sock\", or a table",
    ),
    ("lisen = ':80'", "f.toml:1:1: lisen: there is no such key, did you mean listen?"),
    ("[listen]\nadress = ':80'", "f.toml:2:1: listen.adress: there is no such key, did you mean address?"),
    (
        "[listen]\ntls = true",
        "f.toml:2:7: listen.tls = true: there is no certificate: add certificate and key here, or a [tls] (sockeye cert self-signed makes one)",
    ),
    ("[listen]\ntls = 'yes'", "f.toml:2:7: listen.tls = 'yes': expected true or false, without quotes"),
    (
        "[listen]\ncertificate = 'a'",
        "f.toml:1:1: listen.key: expected the path of the certificate's key, a PEM file",
    ),
    ("[listen]\nmode = 'udp'", "f.toml:2:8: listen.mode = 'udp': expected \"http\", \"tcp\""),
    (
        "[listen]\nmode = 'tcp'",
        "f.toml:1:1: listen.upstream: mode = \"tcp\" needs the name of the upstream that the bytes go to",
    ),
    (
        "[listen]\nsend_proxy = 'v2'",
        "f.toml:2:14: listen.send_proxy = 'v2': this needs mode = \"tcp\": with http the client's address is in X-Forwarded-For, or set send_proxy of the upstream",
    ),
    (
        "[listen]\nwebsocket_over_http2 = true",
        "f.toml:2:24: listen.websocket_over_http2 = true: this needs http2 = true",
    ),
    (
        "[listen]\nredirect = 'ftp'",
        "f.toml:2:12: listen.redirect = 'ftp': expected \"https\", \"http\", or an address such as \"https://io.example.com\"",
    ),
    (
        "[listen]\nproxy_protocol_from = ['10.0.0.0/33']",
        "f.toml:2:24: listen.proxy_protocol_from = '10.0.0.0/33': expected an address or a range, such as \"10.0.0.0/8\" or \"::1\"",
    ),
    ("[listen]\nbacklog = 0", "f.toml:2:11: listen.backlog = 0: expected a number from 1 to 65535"),
    (
        "listen = [':80', '127.0.0.1:80']",
        "f.toml:1:18: listen.1: another listener has 127.0.0.1:80 already: choose another address",
    ),
    (
        "[[listen]]\nname = 'a'\n[[listen]]\nname = 'a'\naddress = ':1'",
        "f.toml:3:1: listen.1.name: there is another listener with the name a: choose another",
    ),
    (
        "[upstream.a]",
        "f.toml:1:1: upstream.a: expected one of servers, dns, watch, register, directory, got none",
    ),
    (
        "[upstream.a]\nservers = []",
        "f.toml:2:11: upstream.a.servers = []: expected at least one server, such as \"app01:3000\"",
    ),
    (
        "[upstream.a]\nservers = ['app01']",
        "f.toml:2:12: upstream.a.servers.0 = 'app01': expected a server's address, such as \"10.0.0.5:3000\", \"app01:3000\" or \"unix:/run/app.sock\"",
    ),
    (
        "[upstream.a]\nservers = ['nowhere:1']",
        "f.toml:2:12: upstream.a.servers.0 = 'nowhere:1': nowhere cannot be resolved (no such name): check the name, or write its IP address; with dns = the edge asks again and again",
    ),
    (
        "[upstream.a]\nservers = ['10.0.0.1:1', '10.0.0.1:1']",
        "f.toml:2:26: upstream.a.servers = '10.0.0.1:1': there is another server with the name 10.0.0.1:1: give each a name of its own",
    ),
    (
        "[upstream.a]\nservers = ['10.0.0.1:1']\ndns = 'b:1'",
        "f.toml:1:1: upstream.a: expected one of servers, dns, watch, register, directory, got several",
    ),
    (
        "[upstream.a]\ndirectory = true",
        "f.toml:2:13: upstream.a.directory = true: expected the address of a backplane such as \"redis://10.0.0.9:6379\", or true with cluster.adapter set",
    ),
    (
        "[upstream.'a b']\nservers = ['10.0.0.1:1']",
        "f.toml:1:11: upstream.a b: expected a name of up to 64 letters, digits, -, _, . and :",
    ),
    (
        "[[site]]\nfiles = '.'\nupstream = 'chta'\n[app.chat]",
        "f.toml:1:1: site.upstream: there is no upstream or app chta: expected \"chat\"; did you mean \"chat\"?",
    ),
    (
        "[[site]]\nhost = 'a'",
        "f.toml:1:1: site: nobody answers: expected upstream, files, redirect or health",
    ),
    (
        "[[site]]\nhealth = 'live'\nfiles = '.'",
        "f.toml:1:1: site: expected one of upstream, files, redirect and health; files may have an upstream for what is no file",
    ),
    (
        "[[site]]\nhealth = 'live'\nlisten = 'man'",
        "f.toml:1:1: site.listen: there is no listener man: expected \"main\"; did you mean \"main\"?",
    ),
    (
        "[[site]]\nhealth = 'live'\npath = 'a'",
        "f.toml:3:8: site.path = 'a': expected a path that begins with a slash",
    ),
    (
        "[[site]]\nhealth = 'live'\nhost = 'a:80'",
        "f.toml:3:8: site.host = 'a:80': expected a host such as \"io.example.com\" or \"*.example.com\", without a port",
    ),
    (
        "[upstream]\na = ['10.0.0.1:1']\nb = ['10.0.0.1:1']",
        "f.toml:1:1: site: there are several groups (a, b): say in a [[site]], or by upstream of [[listen]], what goes to which",
    ),
    (
        "admin = ':9000'",
        "f.toml:1:9: admin = ':9000': a TCP address needs a token: set admin.token_file, or listen on a Unix socket, which only this user can open",
    ),
    ("[admin]\ntoken = 'secret'", "f.toml:2:9: admin.token: expected at least 16 characters without blanks"),
    (
        "[limits]\nhead_size = 4096",
        "f.toml:2:13: limits.head_size = 4096: expected a size from 8192 to 61440 bytes, such as 16384 or \"16k\"",
    ),
    (
        "[limits]\nidle_timeout = 75",
        "f.toml:2:16: limits.idle_timeout = 75: expected a time with its unit from 10ms to 24h, such as \"10s\", \"250ms\" or \"1h\"",
    ),
    (
        "[cluster]\nadapter = 'http://user:secret@a'",
        "f.toml:2:11: cluster.adapter: expected an address that begins with redis://, rediss://, nats://, tls://, postgres://, postgresql://, mongodb://, mongodb+srv://, mesh:",
    ),
    (
        "[cluster]\nadapter = 'nats://a'\nnode_link = '10.0.0.7:1'\nnode_link_cert = 'a'\nnode_link_ca = 'b'",
        "f.toml:1:1: cluster.node_link_key: expected the path of a PEM file: node_link_cert, node_link_key, node_link_ca belong together",
    ),
    (
        "[cluster]\nadapter = 'nats://a'\nnode_link_cert = 'a'\nnode_link_key = 'b'\nnode_link_ca = 'c'",
        "f.toml:3:18: cluster.node_link_cert = 'a': this needs cluster.node_link: it is for what machines say to each other",
    ),
    ("a = [", "f.toml:1:6: this is no TOML: unclosed array, expected `]`"),
    (
        "access_log = { format = 'common' }",
        "f.toml:1:25: access_log.format = 'common': expected \"combined\", \"json\"",
    ),
    (
        "trust = 'everybody'",
        "f.toml:1:9: trust = 'everybody': expected an address or a range, such as \"10.0.0.0/8\" or \"::1\"",
    ),
    (
        "upstream = 3",
        "f.toml:1:12: upstream.0 = 3: expected a server's address, such as \"10.0.0.5:3000\", \"app01:3000\" or \"unix:/run/app.sock\"",
    ),
];

/// The same for a line of a group.
const WRONG_GROUPS: &[(&str, &str)] = &[
    ("stiky = 'ip'", "f.toml:3:1: upstream.a.stiky: there is no such key, did you mean sticky?"),
    (
        "sticky = 'cokie'",
        "f.toml:3:10: upstream.a.sticky = 'cokie': expected \"sid\", \"cookie\", \"ip\", \"ip_hash\", \"xff\", \"header:NAME\", \"none\"; did you mean \"cookie\"?",
    ),
    (
        "hash_bound = 50",
        "f.toml:3:14: upstream.a.hash_bound = 50: expected 0 for no bound, or a percentage of the mean from 100 to 10000",
    ),
    (
        "tunnel_timeout = '30s'",
        "f.toml:3:18: upstream.a.tunnel_timeout = '30s': a WebSocket is silent for up to 45s between two heartbeats (pingInterval + pingTimeout): expected more, or set heartbeat to what the servers use",
    ),
    (
        "cookie = { same_site = 'none', secure = false }",
        "f.toml:3:24: upstream.a.cookie.same_site = 'none': browsers refuse such a cookie without secure: set secure = true, or leave it out",
    ),
    ("cookie = 'a b'", "f.toml:3:10: upstream.a.cookie = 'a b': expected a cookie's name, or a table"),
    (
        "rebalance = true",
        "f.toml:3:13: upstream.a.rebalance = true: this needs a pace: set drain_pace to the sessions a second that may be moved",
    ),
    (
        "health = 'ping'",
        "f.toml:3:10: upstream.a.health = 'ping': expected \"off\", \"connect\", or a request such as \"HEAD /health\", or a table",
    ),
    (
        "health = { status = 200 }",
        "f.toml:3:21: upstream.a.health.status = 200: this needs a request: set check, for example to \"HEAD /health\"",
    ),
    (
        "queue_wait = '2'",
        "f.toml:3:14: upstream.a.queue_wait = '2': expected a time with its unit from 0 to 10m, such as \"10s\", \"250ms\" or \"1h\"",
    ),
    (
        "path = 'socket.io'",
        "f.toml:3:8: upstream.a.path = 'socket.io': expected a path that begins with a slash, such as \"/socket.io/\"",
    ),
    (
        "balance = 'rr'",
        "f.toml:3:11: upstream.a.balance = 'rr': expected \"leastconn\", \"roundrobin\", \"random\", \"p2c\", \"least_conn\", \"least-connection\", \"round_robin\", \"round-robin\", \"two_choices\"",
    ),
];

const WHOLE: &str = r#"
        trust = ["10.0.0.0/8"]
        access_log = { path = "-", format = "json" }
        admin = "unix:/run/admin.sock"

        [[listen]]
        address = ":443"
        certificate = "cert.pem"
        key = "/keys/key.pem"
        http2 = true

        [[listen]]
        name = "plain"
        address = ":12345"
        redirect = "https"
        redirect_status = 308
        server_names = ["IO.example.com"]
        proxy_protocol_from = ["10.0.0.0/8"]

        [[listen]]
        address = ":11111"
        mode = "tcp"
        upstream = "chat"
        send_proxy = "v2"
        tls = true
        [tls]
        certificate = "/a"
        key = "/b"

        [upstream.chat]
        servers = [{ address = "10.0.0.5:3000", name = "app01", weight = 3, state = "drain" }, "unix:/run/b.sock"]
        sticky = ["sid", "cookie"]
        cookie = { name = "io", mode = "prefix", expires = "1h", domain = ".example.com", same_site = "none", secure = true }
        balance = "p2c"
        health = { check = "HEAD /health", status = 200, interval = "500ms", rise = 1 }
        tunnel_timeout = "2m"

        [upstream.api]
        dns = "api.internal:8080"
        sticky = "ip_hash"
        hash_bound = 0

        [[site]]
        host = "*.example.com"
        path = "/api"
        upstream = "api"

        [[site]]
        files = "public"
        upstream = "chat"
        "#;

#[test]
fn a_variable_below_a_short_form_adds_to_what_it_stands_for() {
    let group = |text: &str, name: &str, value: &str| {
        let settled = common::with(text, &[(name, value)]).unwrap_or_else(|told| panic!("{name}: {told}"));
        settled.edge.groups[0].clone()
    };
    let token =
        common::with("admin = '127.0.0.1:1'", &[("SOCKEYE_ADMIN__TOKEN", "0123456789abcdef")]).unwrap();
    assert!(token.admin.token.is_some() && token.admin.address.is_some());
    let list = "upstream.chat = ['app01:3000', 'app02:3000']";
    let sticky = group(list, "SOCKEYE_UPSTREAM__CHAT__STICKY", "sid,cookie");
    assert!(matches!(sticky.affinity[..], [Affinity::Sid, Affinity::Cookie(_)]));
    let bare = group("upstream = ['app01:3000']", "SOCKEYE_UPSTREAM__UPSTREAM__STICKY", "ip");
    assert!(matches!(bare.affinity[..], [Affinity::Address { .. }]));
    let of = |more: &str| format!("[upstream.chat]\nservers = ['app01:3000', 'app02:3000']\n{more}");
    let cookie = group(&of("cookie = 'io'"), "SOCKEYE_UPSTREAM__CHAT__COOKIE__SECURE", "true");
    let [_, Affinity::Cookie(cookie)] = &cookie.affinity[..] else { panic!("a cookie") };
    assert_eq!((cookie.name.as_str(), cookie.secure), ("io", Some(true)));
    let health = group(&of("health = 'HEAD /x'"), "SOCKEYE_UPSTREAM__CHAT__HEALTH__FALL", "5").health;
    assert!(matches!(health.check, Check::Http(_)) && health.fall.get() == 5);
    for (text, name) in [
        (of(""), "SOCKEYE_UPSTREAM__CHAT__SERVERS__1__WEIGHT"),
        (list.to_owned(), "SOCKEYE_UPSTREAM__CHAT__1__WEIGHT"),
        ("upstream = ['app01:3000', 'app02:3000']".to_owned(), "SOCKEYE_UPSTREAM__1__WEIGHT"),
    ] {
        let Members::Static(servers) = group(&text, name, "7").members else { panic!("static") };
        assert_eq!(servers.iter().map(|server| server.weight.get()).collect::<Vec<_>>(), [1, 7], "{name}");
    }
    for (text, name) in [
        ("listen = ':1'", "SOCKEYE_LISTEN__HTTP2"),
        ("listen = ':1'", "SOCKEYE_LISTEN__0__HTTP2"),
        ("listen = [':1', ':2']", "SOCKEYE_LISTEN__0__HTTP2"),
        ("[listen]\naddress = ':1'", "SOCKEYE_LISTEN__0__HTTP2"),
    ] {
        let settled = common::with(text, &[(name, "true")]).unwrap_or_else(|told| panic!("{name}: {told}"));
        let first = &settled.edge.listeners[0];
        let Serves::Http(http) = &first.serves else { panic!("http") };
        assert!(http.http2 && first.at.to_string() == "0.0.0.0:1", "{text} {name}");
    }
    let log = common::with("access_log = 'a.log'", &[("SOCKEYE_ACCESS_LOG__FORMAT", "json")]).unwrap();
    assert_eq!(log.edge.access_log.unwrap().format, LogFormat::Json);
}

#[test]
fn one_error_hides_no_other() {
    for (text, expected) in [
        ("[[site]]\npath = 'y'", &["nobody answers", "site.path"][..]),
        (
            "[listen]\nmode = 'tcp'\nupstream = 'a'\nredirect = 'ftp'\n[upstream.a]\nservers = ['app01:1']",
            &["this needs mode", "expected \"https\""],
        ),
        (
            "[upstream.a]\nsticky = 'x'\n[[site]]\nupstream = 'a'",
            &["expected one of servers", "upstream.a.sticky"],
        ),
    ] {
        let told = refused(text);
        assert!(expected.iter().all(|part| told.contains(part)), "{told}");
        assert_eq!(told.lines().count(), expected.len(), "{told}");
    }
    let short = refused("[admin]\naddress = '127.0.0.1:1'\ntoken = 'short'");
    assert_eq!(short, "f.toml:3:9: admin.token: expected at least 16 characters without blanks");
    let bare = refused("[listen]\naddress = ':1'\ntls = true");
    assert!(bare.starts_with("f.toml:3:7: listen.tls = true: there is no certificate"), "{bare}");
}
