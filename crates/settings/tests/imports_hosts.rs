//! Servers of nginx and virtual hosts of Apache that share addresses: who answers which host, in rows.

mod common;

use common::settled;
use sockeye_edge::config::{Config, Does, Serves};
use sockeye_settings::import::{Imported, Kind, import};

/// A site: where it comes in, its hosts, its path, and who answers.
type Row<'a> = (&'a str, &'a str, &'a str, &'a str);

#[test]
fn the_default_server_of_nginx_answers_every_host() {
    let a = "server_name a.com; location / { proxy_pass http://10.0.0.1:1; }";
    let b = "server_name b.com; location / { proxy_pass http://10.0.0.2:1; }";
    let rows: [(String, &[Row<'_>]); 8] = [
        (format!("server {{ listen 80; {a} }}"), &[("", "", "/", "10.0.0.1:1")]),
        (format!("server {{ {a} }}"), &[("", "", "/", "10.0.0.1:1")]),
        (
            format!("server {{ listen 80; {a} }} server {{ listen 80; {b} }}"),
            &[
                ("", "a.com", "/", "10.0.0.1:1"),
                ("", "b.com", "/", "10.0.0.2:1"),
                ("", "", "/", "10.0.0.1:1"),
            ],
        ),
        (
            format!("server {{ listen 80; {a} }} server {{ listen 80 default_server; {b} }}"),
            &[
                ("", "a.com", "/", "10.0.0.1:1"),
                ("", "b.com", "/", "10.0.0.2:1"),
                ("", "", "/", "10.0.0.2:1"),
            ],
        ),
        (
            format!("server {{ listen 80; {a} }} server {{ listen 81; {b} }}"),
            &[("main", "", "/", "10.0.0.1:1"), ("listen-1", "", "/", "10.0.0.2:1")],
        ),
        // The longest path counts, wherever it stands.
        (
            format!("server {{ listen 80; {a} location /api {{ proxy_pass http://10.0.0.3:1; }} }}"),
            &[("", "", "/api", "10.0.0.3:1"), ("", "", "/", "10.0.0.1:1")],
        ),
        // One that redirects beside one that answers.
        (
            format!("server {{ listen 80; server_name r.com; return 301 https://$host$request_uri; }} server {{ listen 80; {a} }}"),
            &[("", "r.com", "/", "https"), ("", "a.com", "/", "10.0.0.1:1"), ("", "", "/", "https")],
        ),
        (
            "server { listen 80; server_name r.com; location / { return 301 https://$host$request_uri; } location /acme { proxy_pass http://10.0.0.3:1; } }".to_owned(),
            &[("", "", "/acme", "10.0.0.3:1"), ("", "", "/", "https")],
        ),
    ];
    for (text, expected) in rows {
        let imported = import(Kind::Nginx, &text);
        check(&imported, &text, expected);
    }
}

#[test]
fn a_server_of_nginx_that_nobody_reaches_and_what_listen_says_are_told() {
    let imported = import(
        Kind::Nginx,
        "server { listen 443 ssl http2; ssl_certificate a; ssl_certificate_key b; location / { proxy_pass http://10.0.0.1:1; } }
         server { listen 443 ssl; http2 on; server_name ~^x; ssl_certificate c; ssl_certificate_key d; location / { proxy_pass http://10.0.0.1:1; } }
         server { listen 8443 ssl rcvbuf=1k; http2 on; ssl_certificate a; ssl_certificate_key b; return 301 https://a.com/b; }",
    );
    let edge = settled(&imported.text).edge;
    let http2 = |at: usize| matches!(&edge.listeners[at].serves, Serves::Http(http) if http.http2 && http.redirect.is_none());
    assert!(http2(0) && http2(1), "{}", imported.text);
    let notes: Vec<String> = imported.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "line 2: :443 has another certificate already: set tls = true there, and list both in [[tls]]",
            "line 2: left out: it has no name, and another one answers every host at its addresses",
            "line 2: server_name ~^x has no counterpart",
            "line 3: rcvbuf=1k of listen has no counterpart",
            "line 3: return 301 https://a.com/b has no counterpart",
        ]
    );
}

#[track_caller]
fn check(imported: &Imported, text: &str, expected: &[Row<'_>]) {
    let edge = settled(&imported.text).edge;
    let found = sites(&edge);
    let found: Vec<Row<'_>> =
        found.iter().map(|[listens, hosts, path, does]| (&**listens, &**hosts, &**path, &**does)).collect();
    assert_eq!(found, expected, "{text}\n{}\n{:?}", imported.text, imported.notes);
}

fn sites(edge: &Config) -> Vec<[String; 4]> {
    let does = |does: &Does| match does {
        Does::Relay { group } => group.clone(),
        Does::Files { root, .. } => root.display().to_string(),
        Does::Redirect(to) => to.scheme.clone(),
        Does::Health { .. } => "health".to_owned(),
    };
    let row = |site: &sockeye_edge::config::Site| {
        [site.listeners.join(","), site.hosts.join(","), site.path.clone(), does(&site.does)]
    };
    edge.sites.iter().map(row).collect()
}
