//! What can be found: each rule with why it hurts and what to do. `docs/doctor.md` has the same table.

/// What can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    id: &'static str,
    weight: Weight,
    why: &'static str,
    fix: &'static str,
}

/// Whether something is wrong, or only worth knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Clients suffer, or will.
    Fault,
    /// Right as it is, as long as something else holds.
    Hint,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.id
    }

    /// Whether it finds a fault or a hint.
    #[must_use]
    pub fn weight(self) -> Weight {
        self.weight
    }

    /// Why it hurts.
    #[must_use]
    pub fn why(self) -> &'static str {
        self.why
    }

    /// What to do.
    #[must_use]
    pub fn fix(self) -> &'static str {
        self.fix
    }

    /// All of them.
    #[must_use]
    pub fn all() -> &'static [Self] {
        ALL
    }
}

macro_rules! rules {
    ($($name:ident $weight:ident $id:literal: $why:literal, $fix:literal;)*) => {
        $(pub(crate) const $name: Rule = Rule { id: $id, weight: Weight::$weight, why: $why, fix: $fix };)*
        const ALL: &[Rule] = &[$($name),*];
    };
}

rules! {
    CERTIFICATE Fault "certificate":
        "browsers and clients refuse the connection, or warn of it, and try again for ever",
        "serve a certificate of an authority that clients know, for this name, with its whole chain (`fullchain.pem`), and renew it in time; for an authority of one's own, give it to the clients (`ca`, or the system's store). Only for a test: `sockeye doctor --insecure`";
    PATH Fault "path":
        "every client gets an answer that is not Engine.IO's, and tries again for ever",
        "give clients the path of the server (`path` in both), or route this path to it";
    VERSION Fault "version":
        "clients and server speak different versions of the protocol and never meet",
        "use socket.io-client 3 or 4 with a server of 3 or 4; or set `allowEIO3: true` on the server for clients of 2";
    AFFINITY Fault "affinity":
        "requests of one polling session reach servers that do not know it: 400 \"Session ID unknown\", and clients connect in a loop",
        "route by session (Sockeye's edge does it with nothing to set), by a cookie that the balancer inserts, or by client address; or let clients use `transports: [\"websocket\"]` alone";
    UPGRADE Fault "upgrade":
        "clients stay on polling: more requests, more latency, and all of it through every proxy",
        "pass the upgrade on. nginx: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;` with `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }`. ELB: an Application Load Balancer, or a TCP listener";
    UPGRADE_AFFINITY Fault "upgrade-affinity":
        "the WebSocket of a session goes to another server than its polls, so the move fails and clients stay on polling",
        "let one rule, on the same key, route polls and WebSockets: one backend for both";
    IDLE Fault "idle":
        "a connection that is silent between two pings is cut, and its client loses it again and again",
        "let idle connections live longer than pingInterval + pingTimeout (45 s by default). nginx: `proxy_read_timeout 60s;` HAProxy: `timeout tunnel 1h` (and `timeout client 60s`, `timeout server 60s`); or lower `pingInterval` on the server";
    POLLING_IDLE Fault "polling-idle":
        "a poll waits up to pingInterval for its answer, and is cut before: clients lose their session again and again",
        "let an answer take longer than pingInterval + pingTimeout (45 s by default). nginx: `proxy_read_timeout 60s;` HAProxy: `timeout server 60s`";
    CORS_CREDENTIALS Fault "cors-credentials":
        "browsers refuse an answer that allows credentials to every origin, so pages of other origins cannot connect",
        "name the origins: `cors: { origin: \"https://front-domain.com\", credentials: true }`";
    CORS_ORIGIN Fault "cors-origin":
        "browsers keep the answers from a page of this origin, so it cannot connect by polling",
        "allow it: `cors: { origin: \"<the page's origin>\", methods: [\"GET\", \"POST\"] }`";
    COOKIE_CROSS_SITE Fault "cookie-cross-site":
        "browsers do not send this cookie with requests of a page of another site, so its sessions are split",
        "set `SameSite=None; Secure` on the cookie (and serve HTTPS), or route by session or by address instead";
    CREDENTIALS Hint "credentials":
        "sessions hold together only by a cookie, and clients of another origin and those in Node.js send none unless told",
        "set `withCredentials: true` in every client, and `cors: { origin: \"…\", credentials: true }` on the server";
    HTTPS_REDIRECT Fault "https-redirect":
        "people who type the name without https:// talk in the clear, or reach nothing",
        "answer HTTP with 301 to the same host, path and query under https://, without a port";
    ONE_WAY Fault "one-way":
        "what a client says reaches only clients on the same server: the servers share no events",
        "give the servers an adapter (Redis, Postgres, MongoDB, NATS; Sockeye's workers of one machine need none), the same for all of them";

    HAPROXY_MODE Fault "haproxy-mode":
        "in TCP mode HAProxy ignores cookies and sees no requests, so polling sessions are split",
        "mode http";
    HAPROXY_TIMEOUTS Fault "haproxy-timeouts":
        "without timeouts dead connections stay for ever; with short ones, silent WebSockets are cut",
        "timeout connect 5s\ntimeout client 60s\ntimeout server 60s\ntimeout tunnel 1h";
    HAPROXY_NO_AFFINITY Fault "haproxy-no-affinity":
        "requests of one polling session reach servers that do not know it: 400 \"Session ID unknown\"",
        "cookie SERVERID insert indirect nocache\nserver app01 app01:3000 check cookie app01";
    HAPROXY_COOKIE_OPTION Hint "haproxy-cookie-option":
        "`prefix` needs a cookie that the server sets, and servers of Socket.IO 3 and 4 set none by themselves",
        "cookie SERVERID insert indirect nocache   # or, on the server: new Server({ cookie: { name: \"io\" } })";
    HAPROXY_CREDENTIALS Hint "haproxy-credentials":
        "clients of another origin and those in Node.js send no cookie unless told, and their sessions are split",
        "io(url, { withCredentials: true })   // in every client";
    HAPROXY_PREFIX Fault "haproxy-prefix":
        "HAProxy's manual discourages `indirect` with `prefix`: the cookie is taken from requests in which the server expects it",
        "cookie SERVERID insert indirect nocache";
    HAPROXY_REDISPATCH Fault "haproxy-redispatch":
        "clients of a dead server are sent to it until it is marked down: 503 for all of them",
        "option redispatch\nretries 3";
    HAPROXY_CHECKS Fault "haproxy-checks":
        "a dead server is noticed after fall × inter (6 s by default): clients were out for 12 s",
        "default-server check inter 500ms fall 2 rise 2 observe layer4 error-limit 1 on-error mark-down";
    NGINX_NO_AFFINITY Fault "nginx-no-affinity":
        "requests of one polling session reach servers that do not know it: 400 \"Session ID unknown\"",
        "hash $remote_addr consistent;";
    NGINX_HASH_ADDRESS Hint "nginx-hash-address":
        "behind another proxy every client has that proxy's address, and all go to one server",
        "set_real_ip_from 10.0.0.0/8;   # the proxy's network\nreal_ip_header X-Forwarded-For;\nreal_ip_recursive on;";
    NGINX_IP_HASH Fault "nginx-ip-hash":
        "`ip_hash` looks at three of the four numbers of an address: a whole office, or a proxy's network, goes to one server",
        "hash $remote_addr consistent;";
    NGINX_CONNECTION Fault "nginx-connection":
        "plain requests, too, are sent with `Connection: upgrade`, so no connection to a server is kept for the next one",
        "map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\nproxy_set_header Connection $connection_upgrade;";
    NGINX_UPGRADE Fault "nginx-upgrade":
        "the `Upgrade` of a WebSocket is not passed on: clients stay on polling",
        "proxy_http_version 1.1;\nproxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $connection_upgrade;";
    NGINX_TIMEOUT Fault "nginx-timeout":
        "a connection that is silent between two pings is cut",
        "proxy_read_timeout 60s;   # more than pingInterval + pingTimeout";
    NGINX_STICKY Hint "nginx-sticky":
        "`sticky` is in the free nginx from 1.29.6 on; older ones refuse the file unless they are NGINX Plus",
        "nginx -v   # 1.29.6 or later; else: hash $remote_addr consistent;";
    APACHE_TWO_BALANCERS Fault "apache-two-balancers":
        "each balancer has a health of its own: after a crash polls and WebSockets of one session go to different servers, and clients stay on polling",
        "one balancer for both: BalancerMember \"http://app01:3000\" route=app01 upgrade=websocket   # Apache 2.4.47 or later";
    APACHE_COOKIE Fault "apache-cookie":
        "browsers do not send this cookie with requests of a page of another site, so its sessions are split",
        "Header add Set-Cookie \"SERVERID=sticky.%{BALANCER_WORKER_ROUTE}e; path=/; HttpOnly; Secure; SameSite=None\" env=BALANCER_ROUTE_CHANGED";
    APACHE_MODULES Fault "apache-modules":
        "Apache does not start, or ignores what a missing module would read",
        "LoadModule <name> modules/mod_<name>.so   # Debian: a2enmod";
    APACHE_TIMEOUT Fault "apache-timeout":
        "a connection that is silent between two pings is cut",
        "ProxyTimeout 60";
    TRAEFIK_RULE Fault "traefik-rule":
        "a `rule` belongs to a router; under a service Traefik refuses the file",
        "http:\n  routers:\n    chat:\n      rule: \"PathPrefix(`/`)\"\n      service: chat";
    TRAEFIK_COOKIE Fault "traefik-cookie":
        "browsers do not send this cookie with requests of a page of another site, so its sessions are split",
        "sticky:\n  cookie:\n    name: server_id\n    httpOnly: true\n    secure: true\n    sameSite: none";
    TRAEFIK_NO_AFFINITY Fault "traefik-no-affinity":
        "requests of one polling session reach servers that do not know it: 400 \"Session ID unknown\"",
        "loadBalancer:\n  sticky:\n    cookie: { name: server_id, httpOnly: true, secure: true, sameSite: none }";
    INGRESS_SNIPPET Fault "ingress-snippet":
        "snippets are switched off by default in ingress-nginx, and the controller is retired: the annotation has no effect",
        "nginx.ingress.kubernetes.io/affinity: \"cookie\"   # or another controller; Sockeye's edge routes by session";
    INGRESS_FIRST_ADDRESS Fault "ingress-first-address":
        "a client can write the first entry of X-Forwarded-For itself, and so choose its server",
        "nginx.ingress.kubernetes.io/upstream-hash-by: \"$remote_addr\"   # with use-forwarded-headers and proxy-real-ip-cidr";
    NODE_STICKY Fault "node-sticky":
        "@socket.io/sticky balances a burst badly (100:0 was seen), loses about 1 % of handshakes, and takes no HTTPS",
        "start the app as it is under Sockeye's supervisor, without `setupMaster`; or one port a process behind a balancer";
    PM2_CLUSTER Fault "pm2-cluster":
        "in pm2's cluster mode polling sessions are split; @socket.io/pm2 mixes all apps on one port and drops every client at a reload",
        "start the app as it is under Sockeye's supervisor; or exec_mode: \"fork\" with one port an instance, behind a balancer";
    SAILS_HOST_PORT Fault "sails-host-port":
        "`location.host` may hold a port already: behind another one than 443 the address has two",
        "io.connect('https://' + location.hostname + ':3000')";
    SAILS_PORT Fault "sails-port":
        "1111 is no port of this set-up: the instance listens on 11111, and the group lets nothing through to it",
        "open 11111";
}
