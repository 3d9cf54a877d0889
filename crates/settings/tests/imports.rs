//! The recipes of the documentation, turned into files of ours: what comes out is settled, and means the same.

mod common;

use common::settled;
use sockeye_edge::config::{Affinity, Check, CookieMode, Does, Members, Serves};
use sockeye_settings::import::{Kind, import};

#[test]
fn the_nginx_recipe_becomes_a_file() {
    let hashes = [
        (
            "hash $remote_addr consistent;",
            vec![Affinity::Sid, Affinity::Address { three_octets: false, bound_percent: 125 }],
        ),
        ("ip_hash;", vec![Affinity::Sid, Affinity::Address { three_octets: true, bound_percent: 125 }]),
        ("", vec![Affinity::Sid]),
    ];
    for (hash, affinity) in hashes {
        let text = NGINX.replace("@", hash);
        assert_eq!(Kind::guess(&text), Some(Kind::Nginx));
        let imported = import(Kind::Nginx, &text);
        let edge = settled(&imported.text).edge;
        assert_eq!(edge.listeners[0].at.to_string(), "0.0.0.0:3000", "{}", imported.text);
        assert_eq!(edge.groups[0].affinity, affinity, "{}", imported.text);
        let Members::Static(servers) = &edge.groups[0].members else { panic!("static") };
        assert_eq!(servers.len(), 2);
        // nginx answers any host by its only server.
        assert_eq!(edge.sites[0].hosts, Vec::<String>::new());
        assert_eq!(edge.sites[0].does, Does::Relay { group: "nodes".into() });
        let forced = imported.notes.iter().find(|note| note.text.contains("forced on every request"));
        assert_eq!(forced.map(|note| note.line), Some(13), "{:?}", imported.notes);
    }
    let text = NGINX.replace("@", "sticky cookie srv_id expires=1h domain=.example.com path=/;");
    let edge = settled(&import(Kind::Nginx, &text).text).edge;
    let Affinity::Cookie(cookie) = &edge.groups[0].affinity[1] else { panic!("a cookie") };
    assert_eq!((cookie.name.as_str(), cookie.domain.as_deref()), ("srv_id", Some(".example.com")));
    assert_eq!(cookie.expires, Some(std::time::Duration::from_secs(3600)));
}

#[test]
fn what_is_said_twice_is_written_once_and_what_makes_no_sense_is_noted() {
    let twice = import(
        Kind::Nginx,
        "upstream a { ip_hash; hash $remote_addr; { } sticky cookie c path=/a path=/b; server b:1; }",
    );
    for line in ["sticky = [\"sid\", \"cookie\"]", "cookie = { name = \"c\", path = \"/b\" }"] {
        assert_eq!(twice.text.matches(line).count(), 1, "{}", twice.text);
    }
    assert_eq!(twice.text.matches("sticky = ").count(), 1, "{}", twice.text);
    assert_eq!(twice.notes, []);
    let numbers = import(Kind::HaProxy, "listen a\n  server b 10.0.0.1:1 check rise 2 fall 3s\n");
    assert!(numbers.text.contains("health.rise = 2\n") && !numbers.text.contains("fall"), "{}", numbers.text);
    assert_eq!(numbers.notes[0].to_string(), "line 2: fall 3s: expected a number");
}

#[test]
fn the_redirect_port_of_nginx_becomes_a_listener() {
    let imported = import(Kind::Nginx, REDIRECT);
    let edge = settled(&imported.text).edge;
    let Serves::Http(http) = &edge.listeners[0].serves else { panic!("http") };
    let redirect = http.redirect.as_ref().unwrap();
    assert_eq!((redirect.scheme.as_str(), redirect.host.as_deref()), ("https", Some("io.example.com")));
    assert_eq!((edge.listeners[0].at.to_string().as_str(), edge.listeners.len()), ("0.0.0.0:12345", 2));
    assert!(edge.listeners[1].tls.is_some());
}

#[test]
fn the_haproxy_recipe_becomes_a_file() {
    assert_eq!(Kind::guess(HAPROXY), Some(Kind::HaProxy));
    let imported = import(Kind::HaProxy, HAPROXY);
    let edge = settled(&imported.text).edge;
    assert_eq!(edge.listeners[0].at.to_string(), "0.0.0.0:80");
    let group = &edge.groups[0];
    let Check::Http(probe) = &group.health.check else { panic!("a request: {}", imported.text) };
    assert_eq!((probe.method.as_str(), probe.path.as_str(), probe.status), ("HEAD", "/health", (200, 200)));
    let Affinity::Cookie(cookie) = &group.affinity[1] else { panic!("a cookie") };
    assert_eq!((cookie.name.as_str(), cookie.mode), ("io", CookieMode::Prefix));
    let Members::Static(servers) = &group.members else { panic!("static") };
    assert_eq!(servers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["app01", "app02"]);
    assert!(
        imported.notes.iter().any(|note| note.text.contains("only with the option cookie")),
        "{:?}",
        imported.notes
    );
}

#[test]
fn the_apache_recipe_becomes_a_file_with_one_group() {
    assert_eq!(Kind::guess(APACHE), Some(Kind::Apache));
    let imported = import(Kind::Apache, APACHE);
    let edge = settled(&imported.text).edge;
    assert_eq!((edge.groups.len(), edge.sites.len()), (1, 1), "{}", imported.text);
    let Affinity::Cookie(cookie) = &edge.groups[0].affinity[1] else { panic!("a cookie: {}", imported.text) };
    assert_eq!(
        (cookie.name.as_str(), cookie.path.as_deref(), cookie.mode),
        ("SERVERID", Some("/"), CookieMode::Insert)
    );
    assert!(
        imported.notes.iter().any(|note| note.text.contains("one state of health")),
        "{:?}",
        imported.notes
    );
}

#[test]
fn what_is_no_configuration_makes_no_panic() {
    for text in [
        "",
        "{",
        "}}}}",
        "server { listen",
        "upstream { server a; }",
        "server x",
        "<Proxy",
        "cookie",
        "\"",
        "server {{{{{{{{{{{{{{{{{{{{{{{ listen 1; }",
    ] {
        for kind in [Kind::Nginx, Kind::HaProxy, Kind::Apache] {
            let _ = import(kind, text);
        }
        let _ = Kind::guess(text);
    }
}

const NGINX: &str = r#"worker_processes 4;
events { worker_connections 1024; }
http {
  server {
    listen 3000;
    server_name io.yourhost.com;
    location / {
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Host $host;
      proxy_pass http://nodes;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }
  }
  upstream nodes {
    @
    server app01:3000;
    server app02:3000 weight=2;
  }
}
"#;

const REDIRECT: &str = "server {
  listen 12345;
  server_name io.example.com;
  port_in_redirect off;
  rewrite ^(.*) https://io.example.com$1 permanent;
}
server {
  listen 443 ssl;
  ssl_certificate cert.pem;
  ssl_certificate_key key.pem;
  location / { proxy_pass http://127.0.0.1:3000; proxy_read_timeout 60s; }
}
";

const HAPROXY: &str = "listen chat
    bind *:80
    default_backend nodes

backend nodes
    option httpchk HEAD /health
    http-check expect status 200
    cookie io prefix indirect nocache # using the `io` cookie set upon handshake
    server app01 app01:3000 check cookie app01
    server app02 app02:3000 check cookie app02
";

const APACHE: &str = r#"Header add Set-Cookie "SERVERID=sticky.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED

<Proxy "balancer://nodes_polling">
    BalancerMember "http://app01:3000" route=app01
    BalancerMember "http://app02:3000" route=app02
    ProxySet stickysession=SERVERID
</Proxy>

<Proxy "balancer://nodes_ws">
    BalancerMember "ws://app01:3000" route=app01
    BalancerMember "ws://app02:3000" route=app02
    ProxySet stickysession=SERVERID
</Proxy>

RewriteEngine On
RewriteCond %{HTTP:Upgrade} =websocket [NC]
RewriteRule /(.*) balancer://nodes_ws/$1 [P,L]
RewriteCond %{HTTP:Upgrade} !=websocket [NC]
RewriteRule /(.*) balancer://nodes_polling/$1 [P,L]
ProxyTimeout 3
"#;
