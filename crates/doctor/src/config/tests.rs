//! Rows: the recipes as they are printed, and as they should be.

use super::*;

/// The documentation of Socket.IO, "Using multiple nodes".
const NGINX: &str = r#"http {
  server {
    listen 3000;
    server_name io.yourhost.com;

    location / {
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header Host $host;

      proxy_pass http://nodes;

      # enable WebSockets
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }
  }

  upstream nodes {
    # enable sticky session with either "hash" (uses the complete IP address)
    hash $remote_addr consistent;
    # or "ip_hash" (uses the first three octets of the client IPv4 address, or the entire IPv6 address)
    # ip_hash;
    # or "sticky" (needs commercial subscription)
    # sticky cookie srv_id expires=1h domain=.example.com path=/;

    server app01:3000;
    server app02:3000;
    server app03:3000;
  }
}
"#;

const NGINX_RIGHT: &str = r#"
map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For; real_ip_recursive on;
upstream nodes { hash $remote_addr consistent; server app01:3000; server app02:3000; keepalive 32; }
server {
  listen 80;
  proxy_http_version 1.1;
  location /static { proxy_pass http://files; }
  location / {
    proxy_pass http://nodes;
    proxy_read_timeout 60s;
    proxy_set_header Host $host;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
  }
}"#;

#[test]
fn nginx() {
    check("nginx.conf", NGINX, &["nginx-connection 15", "nginx-hash-address 21"]);
    check("nginx.conf", NGINX_RIGHT, &[]);
    let change = |from: &str, to: &str| NGINX_RIGHT.replace(from, to);
    check("nginx.conf", &change("hash $remote_addr consistent;", ""), &["nginx-no-affinity 4"]);
    check("nginx.conf", &change("hash $remote_addr consistent;", "ip_hash;"), &["nginx-ip-hash 4"]);
    let sticky = change(
        "hash $remote_addr consistent;",
        "sticky cookie srv_id expires=1h domain=.example.com path=/;",
    );
    check("nginx.conf", &sticky, &["nginx-sticky 4"]);
    check("nginx.conf", &change("proxy_read_timeout 60s", "proxy_read_timeout 15s"), &["nginx-timeout 11"]);
    check("nginx.conf", &change("proxy_read_timeout 60s", "proxy_read_timeout 1h"), &[]);
    let stripped = change("proxy_set_header Upgrade $http_upgrade;", "");
    check("nginx.conf", &stripped, &["nginx-upgrade 8", "nginx-upgrade 10"]);
    check("nginx.conf", &change("proxy_http_version 1.1;", ""), &["nginx-upgrade 8", "nginx-upgrade 10"]);
    check("nginx.conf", &change("set_real_ip_from 10.0.0.0/8;", ""), &["nginx-hash-address 4"]);
    check("nginx.conf", &change("$connection_upgrade;\n", "\"upgrade\";\n"), &["nginx-connection 14"]);
    // S4: the server of the recipe for Elastic Beanstalk.
    let sails = "server { listen 11111; location / { proxy_pass http://nodejs; proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\"; } }
        upstream nodejs { server 127.0.0.1:8081; keepalive 256; }";
    check("nginx.conf", sails, &["nginx-connection 2"]);
}

/// The documentation's.
const HAPROXY: &str = "listen chat
  bind *:80
  default_backend nodes

backend nodes
  option httpchk HEAD /health
  http-check expect status 200
  cookie io prefix indirect nocache # using the `io` cookie set upon handshake
  server app01 app01:3000 check cookie app01
  server app02 app02:3000 check cookie app02
  server app03 app03:3000 check cookie app03
";

const HAPROXY_RIGHT: &str = "defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  option redispatch
frontend chat
  bind *:80
  default_backend nodes
backend nodes
  balance source
  default-server check inter 500ms fall 2
  server app01 app01:3000
  server app02 app02:3000
";

#[test]
fn haproxy() {
    check(
        "haproxy.cfg",
        HAPROXY,
        &[
            "haproxy-mode 1",
            "haproxy-timeouts 1",
            "haproxy-redispatch 5",
            "haproxy-cookie-option 8",
            "haproxy-prefix 8",
            "haproxy-credentials 8",
            "haproxy-checks 9",
        ],
    );
    check("haproxy.cfg", HAPROXY_RIGHT, &[]);
    let change = |from: &str, to: &str| HAPROXY_RIGHT.replace(from, to);
    check("haproxy.cfg", &change("balance source", "balance roundrobin"), &["haproxy-no-affinity 11"]);
    check("haproxy.cfg", &change("mode http", "mode tcp"), &["haproxy-mode 2"]);
    check("haproxy.cfg", &change("timeout tunnel 1h", "timeout tunnel 30s"), &["haproxy-timeouts 6"]);
    check("haproxy.cfg", &change("timeout client 60s", "timeout client 30000"), &["haproxy-timeouts 4"]);
    check("haproxy.cfg", &change("  timeout client 60s\n", ""), &["haproxy-timeouts 7"]);
    check("haproxy.cfg", &change("inter 500ms fall 2", ""), &["haproxy-checks 14"]);
    check("haproxy.cfg", &change("default-server check inter 500ms fall 2", ""), &["haproxy-checks 14"]);
    check("haproxy.cfg", &change("  option redispatch\n", ""), &["haproxy-redispatch 10"]);
    let cookie = change("balance source", "cookie SERVERID insert indirect nocache");
    check("haproxy.cfg", &cookie, &["haproxy-credentials 12", "haproxy-no-affinity 14"]);
    let cookie =
        cookie.replace("app01:3000", "app01:3000 cookie a").replace("app02:3000", "app02:3000 cookie b");
    check("haproxy.cfg", &cookie, &["haproxy-credentials 12"]);
}

/// The documentation's, with the modules that it needs.
const APACHE: &str = r#"LoadModule headers_module modules/mod_headers.so
LoadModule proxy_module modules/mod_proxy.so
LoadModule proxy_balancer_module modules/mod_proxy_balancer.so
LoadModule proxy_http_module modules/mod_proxy_http.so
LoadModule proxy_wstunnel_module modules/mod_proxy_wstunnel.so
LoadModule rewrite_module modules/mod_rewrite.so
LoadModule slotmem_shm_module modules/mod_slotmem_shm.so
Header add Set-Cookie "SERVERID=sticky.%{BALANCER_WORKER_ROUTE}e; path=/" env=BALANCER_ROUTE_CHANGED
<Proxy "balancer://nodes_polling">
    BalancerMember "http://app01:3000" route=app01
    ProxySet stickysession=SERVERID
</Proxy>
<Proxy "balancer://nodes_ws">
    BalancerMember "ws://app01:3000" route=app01
    ProxySet stickysession=SERVERID
</Proxy>
RewriteEngine On
RewriteCond %{HTTP:Upgrade} =websocket [NC]
RewriteRule /(.*) balancer://nodes_ws/$1 [P,L]
RewriteCond %{HTTP:Upgrade} !=websocket [NC]
RewriteRule /(.*) balancer://nodes_polling/$1 [P,L]
ProxyTimeout 60
"#;

#[test]
fn apache() {
    check("httpd.conf", APACHE, &["apache-cookie 8", "apache-two-balancers 14"]);
    let lacks = APACHE.replace("LoadModule rewrite_module modules/mod_rewrite.so\n", "");
    check("httpd.conf", &lacks, &["apache-cookie 7", "apache-two-balancers 13", "apache-modules 18"]);
    let right = APACHE
        .replace("path=/\"", "path=/; Secure; SameSite=None\"")
        .replace("BalancerMember \"ws://app01:3000\"", "BalancerMember \"http://app01:3000\"");
    check("httpd.conf", &right, &[]);
    check("httpd.conf", &right.replace("ProxyTimeout 60", "ProxyTimeout 30"), &["apache-timeout 22"]);
}

#[test]
fn traefik() {
    // The documentation's file provider.
    let printed = r#"http:
  services:
    my-service:
      rule: "PathPrefix(`/`)"
      loadBalancer:
        sticky:
          cookie:
            name: server_id
            httpOnly: true
        servers:
          - url: "http://app01:3000"
          - url: "http://app02:3000"
"#;
    check("traefik.yml", printed, &["traefik-rule 4", "traefik-cookie 7"]);
    let right = "http:
  routers:
    chat:
      rule: \"PathPrefix(`/`)\"
      service: chat
  services:
    chat:
      loadBalancer:
        sticky:
          cookie:
            name: server_id
            httpOnly: true
            secure: true
            sameSite: none
        servers:
          - url: http://app01:3000
          - url: http://app02:3000
";
    check("traefik.yml", right, &[]);
    let none = "http:
  services:
    chat:
      loadBalancer:
        servers:
          - url: http://app01:3000
          - url: http://app02:3000
";
    check("traefik.yaml", none, &["traefik-no-affinity 4"]);
}

#[test]
fn compose() {
    // The documentation's labels.
    let printed = r#"services:
  traefik:
    image: traefik:2.4
    command:
      - --providers.docker
    ports:
      - 80:80
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
  server:
    image: my-image:latest
    labels:
      - "traefik.http.routers.my-service.rule=PathPrefix(`/`)"
      - traefik.http.services.my-service.loadBalancer.sticky.cookie.name=server_id
      - traefik.http.services.my-service.loadBalancer.sticky.cookie.httpOnly=true
"#;
    check("compose.yml", printed, &["traefik-cookie 14"]);
    let right = format!(
        "{printed}      - traefik.http.services.my-service.loadBalancer.sticky.cookie.secure=true
      - traefik.http.services.my-service.loadBalancer.sticky.cookie.samesite=none
"
    );
    check("docker-compose.yaml", &right, &[]);
    let map = r#"services:
  server:
    labels:
      traefik.http.services.a.loadbalancer.sticky.cookie.name: "server_id"
"#;
    check("compose.yml", map, &["traefik-cookie 4"]);
}

#[test]
fn ingress_nginx() {
    let printed = r#"apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: your-ingress
  namespace: your-namespace
  annotations:
    nginx.ingress.kubernetes.io/configuration-snippet: |
      set $forwarded_client_ip "";
      if ($http_x_forwarded_for ~ "^([^,]+)") {
        set $forwarded_client_ip $1;
      }
      set $client_ip $remote_addr;
      if ($forwarded_client_ip != "") {
        set $client_ip $forwarded_client_ip;
      }
    nginx.ingress.kubernetes.io/upstream-hash-by: "$client_ip"
spec:
  ingressClassName: nginx
"#;
    check("ingress.yml", printed, &["ingress-snippet 7", "ingress-first-address 7"]);
    let right = "metadata:
  annotations:
    nginx.ingress.kubernetes.io/affinity: \"cookie\"
";
    check("ingress.yml", right, &[]);
}

#[test]
fn node_and_pm2_and_sails() {
    check(
        "index.js",
        "const { setupMaster } = require(\"@socket.io/sticky\");\nsetupMaster(s);",
        &["node-sticky 1"],
    );
    check("index.js", "// const { setupMaster } = require(\"@socket.io/sticky\");", &[]);
    check(
        "ecosystem.config.js",
        "module.exports = { apps: [{\n exec_mode : \"cluster\", instances: 4 }] }",
        &["pm2-cluster 2"],
    );
    check("ecosystem.config.js", "module.exports = { apps: [{\n exec_mode : 'fork' }] }", &[]);
    check("app.js", "io.connect('https://' + location.host + ':3000')", &["sails-host-port 1"]);
    check("app.js", "io.connect('https://' + location.hostname + ':3000')", &[]);
    check("ports.yaml", "SecurityGroupIngress:\n  - FromPort: 1111\n    ToPort: 11111\n", &["sails-port 2"]);
}

#[test]
fn the_kind_of_a_file_is_told_by_its_name_or_its_text() {
    for (name, text, kind) in [
        ("/etc/nginx/nginx.conf", "", Some(Kind::Nginx)),
        ("sites/chat", "server {", Some(Kind::Nginx)),
        ("site.conf", "<VirtualHost *:80>", Some(Kind::Apache)),
        ("lb", "defaults\n  mode http\nbackend a\n", Some(Kind::HaProxy)),
        ("compose.yml", "", Some(Kind::Yaml)),
        ("app.mjs", "", Some(Kind::JavaScript)),
        ("notes.txt", "hello", None),
    ] {
        assert_eq!(kind_of(name, text), kind, "{name}");
    }
    assert!(examine("notes.txt", "hello").is_err());
}

#[test]
fn no_file_makes_a_reader_panic() {
    let files = [
        ("nginx.conf", NGINX),
        ("haproxy.cfg", HAPROXY),
        ("httpd.conf", APACHE),
        ("a.yml", "a:\n  - b: |\n   c\n- \"d\": 'e'\n"),
    ];
    for (name, text) in files {
        for at in (0..text.len()).step_by(3) {
            if !text.is_char_boundary(at) {
                continue;
            }
            let (head, tail) = text.split_at(at);
            for cut in [
                head.to_owned(),
                tail.to_owned(),
                format!("{head}{{\"{tail}"),
                format!("{head} - :\n{tail}"),
                format!("{head}}};{tail}"),
            ] {
                for (as_name, _) in files {
                    let _ = examine(as_name, &cut).map(|report| (report.text(), report.json()));
                }
                let _ = examine(name, &cut);
            }
        }
    }
}

/// Findings as `id line`, in the order of the lines, then of the rules.
#[track_caller]
fn check(name: &str, text: &str, expected: &[&str]) {
    let report = examine(name, text).unwrap();
    let mut findings: Vec<(Option<usize>, usize, String)> = report
        .findings
        .iter()
        .map(|finding| {
            let order = crate::Rule::all().iter().position(|rule| *rule == finding.rule).unwrap();
            (finding.line, order, format!("{} {}", finding.rule.id(), finding.line.unwrap()))
        })
        .collect();
    findings.sort();
    let mut expected: Vec<String> = expected.iter().map(|row| (*row).to_owned()).collect();
    let mut found: Vec<String> = findings.into_iter().map(|(_, _, row)| row).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{}", report.text());
}
