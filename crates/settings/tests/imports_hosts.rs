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

#[test]
fn virtual_hosts_of_apache_have_the_tls_of_their_port_and_their_redirects() {
    let tls = "SSLEngine on\nSSLCertificateFile c.pem\nSSLCertificateKeyFile k.pem\nServerName io.example.com\nProxyPass / http://10.0.0.1:1/";
    let listen = "Listen 41821\nListen 41822\n";
    let both = [("", "", "/", "10.0.0.1:1")];
    for (plain, redirect, sites) in [
        (
            "Redirect permanent / https://io.example.com/",
            Some(("https", Some("io.example.com"), None)),
            &both[..],
        ),
        (
            "RedirectPermanent / https://io.example.com:41822",
            Some(("https", Some("io.example.com"), Some(41822))),
            &both,
        ),
        ("Redirect / https://io.example.com/", Some(("https", Some("io.example.com"), None)), &both),
        (
            "ServerName a.com\nRewriteEngine on\nRewriteCond %{HTTPS} off\nRewriteRule ^(.*)$ https://%{HTTP_HOST}%{REQUEST_URI} [R=301,L]",
            Some(("https", None, None)),
            &both,
        ),
        (
            "ServerName a.com\nRewriteCond %{REMOTE_ADDR} ^10\nRewriteRule ^ https://b.com%{REQUEST_URI} [R]\nProxyPass /x http://10.0.0.2:1",
            None,
            &[("main", "", "/x", "10.0.0.2:1"), ("listen-1", "", "/", "10.0.0.1:1")],
        ),
    ] {
        let at = |listen: &str| {
            format!(
                "{listen}<VirtualHost *:41821>\n{plain}\n</VirtualHost>\n<VirtualHost *:41822>\n{tls}\n</VirtualHost>\n"
            )
        };
        for text in [at(listen), at("")] {
            let imported = import(Kind::Apache, &text);
            check(&imported, &text, sites);
            let edge = settled(&imported.text).edge;
            assert_eq!(
                edge.listeners.iter().map(|one| one.tls.is_some()).collect::<Vec<_>>(),
                [false, true],
                "{}",
                imported.text
            );
            let found = edge.listeners.iter().map(|one| match &one.serves {
                Serves::Http(http) => http.redirect.as_ref(),
                Serves::Tcp { .. } => None,
            });
            let found: Vec<_> =
                found.map(|to| to.map(|to| (to.scheme.as_str(), to.host.as_deref(), to.port))).collect();
            assert_eq!(found, [redirect, None], "{}", imported.text);
            let said = imported.notes.iter().any(|note| note.text.starts_with("RewriteRule ^ https://b.com"));
            assert_eq!(said, redirect.is_none(), "{:?}", imported.notes);
        }
    }
}

#[test]
fn one_apache_without_virtual_hosts_has_its_certificate_at_each_port_and_hosts_share_a_port() {
    let one = "Listen 443 https\nSSLEngine on\nSSLCertificateFile c.pem\nSSLCertificateKeyFile k.pem\nServerName a.com\nProxyPass /a http://10.0.0.1:1\n";
    let imported = import(Kind::Apache, one);
    check(&imported, one, &[("", "", "/a", "10.0.0.1:1")]);
    assert!(settled(&imported.text).edge.listeners[0].tls.is_some(), "{}", imported.text);
    let shared = "Listen 80\n<VirtualHost *:80>\nServerName a.com\nServerAlias *.a.com\nProxyPass / http://10.0.0.1:1\n</VirtualHost>\n<VirtualHost *:80>\nServerName b.com\nProxyPass / http://10.0.0.2:1\n</VirtualHost>\n";
    let rows = [
        ("", "a.com,*.a.com", "/", "10.0.0.1:1"),
        ("", "b.com", "/", "10.0.0.2:1"),
        ("", "", "/", "10.0.0.1:1"),
    ];
    check(&import(Kind::Apache, shared), shared, &rows);
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
