//! Every key there is, with its type, default and outcome: what is read, what is suggested, and what `docs/file.md` says.

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// How it is written: `[upstream.NAME]`.
    pub header: &'static str,
    /// Its keys, in the order in which they are told.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub takes: &'static str,
    /// What holds where it is not written.
    pub default: &'static str,
    /// What comes of it.
    pub outcome: &'static str,
}

impl Section {
    /// The header, for a complaint.
    pub(crate) fn title(&self) -> &'static str {
        self.header
    }

    /// The rows of its table in the documents.
    #[must_use]
    pub fn rows(&self) -> String {
        self.keys
            .iter()
            .map(|key| format!("| `{}` | {} | {} | {} |\n", key.name, key.takes, key.default, key.outcome))
            .collect()
    }
}

/// The first levels.
pub(crate) const TOP: [&str; 10] =
    ["listen", "tls", "upstream", "site", "app", "trust", "admin", "access_log", "limits", "cluster"];

/// All tables.
pub const SECTIONS: [&Section; 13] = [
    &ROOT,
    &LISTEN,
    &TLS,
    &UPSTREAM,
    &SERVER,
    &COOKIE,
    &HEALTH,
    &SITE,
    &APP,
    &ADMIN,
    &ACCESS_LOG,
    &LIMITS,
    &CLUSTER,
];

const fn key(name: &'static str, takes: &'static str, default: &'static str, outcome: &'static str) -> Key {
    Key { name, takes, default, outcome }
}

pub(crate) const ROOT: Section = Section {
    header: "the first level",
    keys: &[
        key(
            "listen",
            "an address, a list of them, `[listen]` or `[[listen]]`",
            "`127.0.0.1:3000`",
            "where clients come in",
        ),
        key("tls", "`[tls]` or `[[tls]]`", "none", "certificates, chosen by the name that a client asks for"),
        key(
            "upstream",
            "tables by name; a list of addresses stands for a table of `servers`",
            "none",
            "groups of servers that can stand for each other",
        ),
        key(
            "site",
            "`[site]` or `[[site]]`",
            "everything goes to the only group",
            "what is asked for and who answers; the first that matches, and a 404 where none does",
        ),
        key(
            "app",
            "tables by name",
            "the bundled chat, where nothing else answers",
            "programs that are started, and one group of servers each",
        ),
        key(
            "trust",
            "addresses and ranges",
            "none",
            "the proxies before this one whose `X-Forwarded-*` and `Forwarded` are believed; from others they are replaced",
        ),
        key(
            "admin",
            "an address, or `[admin]`",
            "a Unix socket",
            "where metrics, status, registration and drain are served",
        ),
        key(
            "access_log",
            "a path, `-` for standard output, or `[access_log]`",
            "none",
            "a line for each request",
        ),
        key("limits", "a table", "each has its own", "what all clients share"),
        key("cluster", "a table", "none", "what this machine's workers share with other machines"),
    ],
};

pub(crate) const LISTEN: Section = Section {
    header: "[[listen]]",
    keys: &[
        key(
            "address",
            "`HOST:PORT`, `:PORT` for all addresses, a port of loopback, or `unix:/PATH`",
            "`127.0.0.1:3000`",
            "port 0 lets the system choose",
        ),
        key("name", "a text", "`main`, then `listen-1` and on", "names it in sites, logs and metrics"),
        key("mode", "`http`, `tcp`", "`http`", "`tcp` carries bytes to `upstream` and back"),
        key(
            "upstream",
            "the name of a group or an app",
            "as `[[site]]` says",
            "everything from here goes there; needed with `tcp`",
        ),
        key(
            "tls",
            "true or false",
            "true where `certificate` is set",
            "ends TLS here, with the certificates of `[tls]` or this one",
        ),
        key(
            "certificate",
            "a path",
            "none",
            "PEM, with or without its chain; read again when the file is applied",
        ),
        key("key", "a path", "none", "PEM"),
        key("chain", "a path", "none", "PEM, where the chain is a file of its own"),
        key(
            "redirect",
            "`https`, `http`, or `https://HOST`",
            "none",
            "sends everybody there, with path and query kept",
        ),
        key("redirect_status", "301, 308", "301", "308 keeps the method"),
        key(
            "redirect_port",
            "a port",
            "the scheme's own",
            "written into the other address; none is shown for the scheme's own",
        ),
        key(
            "server_names",
            "hosts",
            "none",
            "hosts that a request may be sent to; for any other the first of them; with none the request's own is refused with a 400",
        ),
        key(
            "proxy_protocol_from",
            "addresses and ranges",
            "none",
            "connections from there begin with a PROXY header, v1 or v2; all others are refused",
        ),
        key("send_proxy", "`v1`, `v2`", "none", "tells the server the client's address, with `tcp`"),
        key("http2", "true or false", "false", "offers HTTP/2"),
        key("websocket_over_http2", "true or false", "false", "takes a WebSocket over HTTP/2"),
        key(
            "backlog",
            "1 to 65535",
            "4096",
            "connections that wait to be accepted; more are dropped and tried again by the client",
        ),
        key(
            "few_upgrades",
            "0 to 100",
            "50",
            "of 200 sessions that ask for a WebSocket at least this share is to get it, in percent; where fewer do, the log warns, and metrics and page say so. 0: never",
        ),
    ],
};

pub(crate) const TLS: Section = Section {
    header: "[[tls]]",
    keys: &[
        key(
            "certificate",
            "a path",
            "needed",
            "PEM, with or without its chain; read again when the file is applied",
        ),
        key("key", "a path", "needed", "PEM"),
        key("chain", "a path", "none", "PEM, where the chain is a file of its own"),
    ],
};

pub(crate) const UPSTREAM: Section = Section {
    header: "[upstream.NAME]",
    keys: &[
        key(
            "servers",
            "addresses, or tables (`[[upstream.NAME.servers]]`)",
            "none",
            "these servers; a name is resolved when the file is applied",
        ),
        key(
            "dns",
            "`NAME:PORT`, or the name of an SRV record",
            "none",
            "the servers are what the name resolves to, asked again and again",
        ),
        key("dns_record", "`a`, `srv`", "`a` with a port, else `srv`", "which records"),
        key("dns_every", "a time", "`10s`", "the pause between two questions"),
        key("watch", "a path", "none", "the servers are the lines of a file, read again when it changes"),
        key("register", "true or false", "false", "the servers are who registers at the admin listener"),
        key("lease", "a time", "`15s`", "how long a registration lasts that is not repeated"),
        key(
            "directory",
            "true, or the address of a backplane",
            "false",
            "the servers are the nodes of the cluster; true: at `cluster.adapter`",
        ),
        key("path", "a path", "`/socket.io/`", "the engine's"),
        key(
            "sticky",
            "`sid`, `cookie`, `ip`, `ip_hash`, `xff`, `header:NAME`, `none`, or a list of them",
            "`sid`",
            "what names the server of a request, tried in this order. With any but `cookie` and `none`, a session whose handshake was seen stays at its server, whatever else a rule would say by now",
        ),
        key(
            "hash_bound",
            "0, or 100 to 10000",
            "125",
            "with `ip`: the most new sessions that a server gets, in percent of the mean; 0 for no bound. None with `mode = \"tcp\"`, where an address has to lead to one server always",
        ),
        key("cookie", "a name, or a table", "`SERVERID`", "the cookie of `sticky = \"cookie\"`"),
        key(
            "balance",
            "`leastconn`, `roundrobin`, `random`, `p2c`",
            "`leastconn`",
            "who gets a session that nothing names a server for",
        ),
        key(
            "health",
            "`off`, `connect`, a request such as `HEAD /health`, or a table",
            "`connect`",
            "how it is known who serves",
        ),
        key(
            "drain_pace",
            "0 to 100000",
            "0",
            "sessions a second that are moved off a server that drains; 0: they stay until they end",
        ),
        key(
            "rebalance",
            "true or false",
            "false",
            "moves the excess over the mean, at that pace, after a server came",
        ),
        key(
            "queue_wait",
            "a time",
            "`2s`",
            "how long a new session waits while nobody serves; then it gets a 503",
        ),
        key("queue_max", "0 to 1000000", "4096", "how many wait so; one more gets its 503 at once"),
        key(
            "tunnel_timeout",
            "a time",
            "longer than the heartbeat",
            "how long a WebSocket may be silent; then it is closed. One shorter than the heartbeat is refused",
        ),
        key(
            "heartbeat",
            "a time",
            "as the handshake tells, `45s` until then",
            "pingInterval + pingTimeout of the servers",
        ),
        key(
            "send_proxy",
            "`v1`, `v2`",
            "none",
            "tells the server the client's address: one connection to it for each of the client's",
        ),
    ],
};

pub(crate) const SERVER: Section = Section {
    header: "[[upstream.NAME.servers]]",
    keys: &[
        key("address", "`HOST:PORT` or `unix:/PATH`", "needed", "where it listens"),
        key("name", "a text", "its address", "names it in cookies, logs and metrics"),
        key("weight", "1 to 65535", "1", "its share beside the others"),
        key("max_sessions", "a number", "none", "more go elsewhere, or wait"),
        key(
            "state",
            "`up`, `drain`, `maintenance`",
            "`up`",
            "`drain`: no new sessions; `maintenance`: nothing",
        ),
    ],
};

pub(crate) const COOKIE: Section = Section {
    header: "[upstream.NAME.cookie]",
    keys: &[
        key("name", "a text", "`SERVERID`", "as in HAProxy and Apache"),
        key(
            "mode",
            "`insert`, `prefix`, `rewrite`",
            "`insert`",
            "who sets it: the edge; the server, and the edge puts `NAME~` before its value; the server, and the edge replaces its value",
        ),
        key("path", "a path", "`/`", "attribute"),
        key("domain", "a domain", "none", "attribute"),
        key("expires", "a time", "when the browser is closed", "attributes `Max-Age` and `Expires`"),
        key("http_only", "true or false", "true", "attribute"),
        key("secure", "true or false", "true where the client came by TLS", "attribute"),
        key("same_site", "`strict`, `lax`, `none`", "not set", "attribute; `none` needs `secure`"),
        key("partitioned", "true or false", "false", "attribute; needs `secure`"),
    ],
};

pub(crate) const HEALTH: Section = Section {
    header: "[upstream.NAME.health]",
    keys: &[
        key(
            "check",
            "`off`, `connect`, or a request such as `HEAD /health`",
            "`connect`",
            "what is asked of each server",
        ),
        key("status", "200, or `200-399`", "`200-399`", "the good answers"),
        key("interval", "a time", "`2s`", "the pause between two questions"),
        key("timeout", "a time", "`1s`", "how long an answer may take"),
        key("rise", "1 to 1000", "2", "good answers that bring a server back"),
        key("fall", "1 to 1000", "3", "bad ones that take it out; a refused connection takes it out at once"),
        key("slow_start", "a time", "0", "how long a server that came back gets less than its share"),
    ],
};

pub(crate) const SITE: Section = Section {
    header: "[[site]]",
    keys: &[
        key("host", "hosts; `*.example.com` is any below", "all", "without ports"),
        key("path", "a path", "`/`", "`/app` is `/app` and `/app/x`, but not `/apple`"),
        key("listen", "names of listeners", "all", "where it comes in"),
        key("websocket", "true or false", "both", "only upgrades to a WebSocket, or only what is none"),
        key(
            "upstream",
            "the name of a group or an app",
            "none",
            "who answers; beside `files`: what is no file",
        ),
        key("files", "a directory", "none", "static files"),
        key("redirect", "`https`, or `https://HOST`", "none", "another address, with path and query kept"),
        key("redirect_status", "301, 308", "301", "308 keeps the method"),
        key("redirect_port", "a port", "the scheme's own", "written into the other address"),
        key(
            "server_names",
            "hosts",
            "`host`",
            "hosts that a request may be sent to; for any other the first of them",
        ),
        key(
            "health",
            "`live`, `ready`",
            "none",
            "answers for the edge itself: 200 while it lives, or while somebody serves",
        ),
    ],
};

pub(crate) const APP: Section = Section {
    header: "[app.NAME]",
    keys: &[
        key("bundled", "`chat`", "`chat`, without `command`", "an application that the command has in it"),
        key(
            "worker_ports",
            "a port",
            "none",
            "each bundled worker gets a port of its own as well, counting up from this one",
        ),
        key(
            "recovery",
            "a time up to `1h`",
            "what `SOCKEYE_RECOVERY` says, else off",
            "how long clients of bundled workers may be away and go on where they were",
        ),
        key(
            "command",
            "a script or a program",
            "none",
            "what runs; with a slash it is a path from `cwd`, else a file there or a program of `PATH`",
        ),
        key("args", "texts", "none", "its arguments"),
        key("namespace", "a name", "`default`", "groups apps, for commands that mean several"),
        key("cwd", "a path", "where it was started", "where it runs"),
        key("env", "a table of texts", "none", "variables beside those of the shell"),
        key("profile", "tables of texts by profile", "none", "variables that `--env PROFILE` adds"),
        key(
            "interpreter",
            "a program, or `none`",
            "by the ending of the script's name",
            "what runs the script",
        ),
        key("interpreter_args", "texts", "none", "before the script"),
        key(
            "instances",
            "a number, `max`, `-1`",
            "one; bundled: `max`",
            "how many run: one a core with `max`, one less with `-1`",
        ),
        key("threads", "1 to 1024", "cores ÷ workers, at least 1", "of each worker of ours"),
        key("user", "a user", "who starts it", "only root can say so"),
        key("host", "an address", "the app's own, else `127.0.0.1`", "of `port`"),
        key("port", "a port", "what the app asks for", "a listener for this app alone"),
        key(
            "ready",
            "`auto`, `started`, `link`, `notify`, `ipc`, `port`, `port:N`, `http:/PATH`",
            "`auto`",
            "what says that a process serves",
        ),
        key("ready_timeout", "a time", "`30s`", "then it is killed, and that was a failure"),
        key("autorestart", "true or false", "true", "whether a process that ended is started again"),
        key(
            "restart_delay",
            "a time",
            "none",
            "a pause before each restart that does not grow, instead of `backoff`",
        ),
        key(
            "backoff",
            "a time",
            "`100ms`",
            "before the first restart; it doubles with each failure in a row",
        ),
        key("backoff_max", "a time", "`10s`", "the longest pause"),
        key("min_uptime", "a time", "`1s`", "whoever ends earlier has failed"),
        key("max_restarts", "a number", "16", "failures in a row; then it is given up"),
        key("stop_exit_codes", "numbers", "none", "after which it is not started again"),
        key("stop_signal", "a signal", "`SIGINT`", "what asks it to end"),
        key("kill_timeout", "a time", "`1600ms`", "from the first asking to SIGKILL"),
        key("shutdown_with_message", "true or false", "false", "tells a Node app to end by a message first"),
        key(
            "drain",
            "a time",
            "`10s`",
            "how long clients of a worker may take to leave when it is reloaded or scaled away",
        ),
        key("max_memory", "a size", "none", "resident memory above which a process is restarted"),
        key(
            "cron",
            "five fields",
            "never",
            "when it is restarted whatever happens, by the clock of `TZ` or else of the system",
        ),
        key(
            "watch",
            "a table: `paths`, `ignore`, `delay`",
            "nothing",
            "files that restart it when they change",
        ),
        key(
            "log",
            "a table: `files`, `out`, `error`, `max_size`, `max_age`, `keep`, `compress`, `time`, `json`",
            "files in the state directory, 10 of 10 MiB",
            "its log files",
        ),
        key("after", "names of apps", "none", "those have to serve first"),
    ],
};

pub(crate) const ADMIN: Section = Section {
    header: "[admin]",
    keys: &[
        key(
            "address",
            "`HOST:PORT` or `unix:/PATH`",
            "`unix:` in the runtime directory",
            "other addresses than loopback need `token` or `token_file`, and so does TCP",
        ),
        key(
            "token",
            "16 characters and more",
            "none",
            "the bearer token; better in `token_file` or the environment",
        ),
        key("token_file", "a path", "none", "a file that holds the token"),
    ],
};

pub(crate) const ACCESS_LOG: Section = Section {
    header: "[access_log]",
    keys: &[
        key("path", "a path, or `-`", "`-`", "appended to; `-` is standard output"),
        key("format", "`combined`, `json`", "`combined`", "how a line reads"),
    ],
};

pub(crate) const LIMITS: Section = Section {
    header: "[limits]",
    keys: &[
        key(
            "connections",
            "1 to 10000000",
            "65536",
            "clients connected to the edge itself; one more is closed at once",
        ),
        key("head_size", "8k to 60k", "`16k`", "of a request; a larger one gets a 431"),
        key(
            "head_timeout",
            "a time",
            "`10s`",
            "for the first request head, TLS and PROXY header before it; then a 408",
        ),
        key(
            "idle_timeout",
            "a time",
            "`75s`",
            "from one request of a connection to the end of the next head; then it is closed",
        ),
        key(
            "returned",
            "1 to 1000000",
            "8192",
            "connections that wait to be assigned anew after their worker died; one more is closed",
        ),
        key("drain_timeout", "a time", "`10s`", "for requests under way at the end; then they are cut"),
        key(
            "sessions_per_second",
            "0 to 1000000",
            "0",
            "new sessions that are admitted; one more gets a 503 with `Retry-After`. 0: as many as come",
        ),
        key("connect_timeout", "a time", "`2s`", "for a connection to a server; then it counts as refused"),
        key(
            "answer_timeout",
            "a time",
            "`120s`",
            "for the head of a server's answer; then the request is lost. Longer than the heartbeat",
        ),
        key("idle_per_server", "1 to 65535", "128", "kept-alive connections to a server; more are closed"),
        key(
            "idle_server_timeout",
            "a time",
            "`4s`",
            "how long such a connection is kept; shorter than the server's own patience",
        ),
        key(
            "buffer_size",
            "8k to 16m",
            "`64k`",
            "the largest head of an answer, and the largest piece of a body held at once",
        ),
    ],
};

pub(crate) const CLUSTER: Section = Section {
    header: "[cluster]",
    keys: &[
        key(
            "adapter",
            "the address of a backplane (`redis://`, `nats://`, `postgres://`, `mongodb://`)",
            "none",
            "carries events between machines",
        ),
        key(
            "node_link",
            "`IP:PORT`",
            "none",
            "where this machine's nodes listen for those of others, who know `SOCKEYE_NODE_SECRET` too, or have certificates; needs `adapter`",
        ),
        key(
            "node_link_cert",
            "a path",
            "none",
            "PEM with its chain: the node link is encrypted, both ends show a certificate, and no secret is needed; with `node_link_key` and `node_link_ca`",
        ),
        key("node_link_key", "a path", "none", "the key of that certificate, PEM"),
        key(
            "node_link_ca",
            "a path",
            "none",
            "the authority that signs the machines' certificates and no others, PEM",
        ),
    ],
};
