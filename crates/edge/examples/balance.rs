//! The edge in front of any programs, told by a few words: what `bench/edge` measures, with as many threads as it says. Tests run `sockeye up FILE`.
//!
//! `balance [listen=ADDRESS] [threads=N] [affinity=RULE[,RULE…]] [algorithm=NAME] [key=value …] -- SERVER-LINE [-- SERVER-LINE …]`
//!
//! It prints its address, and takes words on its standard input: `state NAME up|drain|maintenance`, `servers LINE; LINE; …`, `stats`.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use sockeye_edge::config::{
    AccessLog, Affinity, Algorithm, Certificate, Config, Cookie, CookieMode, Endpoint, Group, LogFormat,
    Members, ServerState, Site, Tls,
};
use sockeye_edge::{Control, Proxy, parse_servers};
use tokio::runtime::Builder;

/// As in the command.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // As the command builds it.
    let threads = words.iter().find_map(|word| word.strip_prefix("threads=")).map(str::parse).transpose()?;
    let mut runtime = match threads {
        Some(1) => Builder::new_current_thread(),
        Some(_) | None => Builder::new_multi_thread(),
    };
    if let Some(threads) = threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_all().build()?;
    let entered = runtime.enter();
    let (settings, lines) = words.split_at(words.iter().position(|word| word == "--").unwrap_or(words.len()));
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| *line != "--").collect();
    let config = settle(settings, &lines.join("\n"))?;
    let proxy = Proxy::bind(config.clone())?;
    let control = proxy.control();
    println!("listening on {}", proxy.local_addr().context("a TCP address")?);
    drop(entered);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let handle = runtime.handle().clone();
    // Ends the process when there are no more words, by the end that it holds.
    std::thread::spawn(move || {
        let _entered = handle.enter();
        for line in std::io::stdin().lines().map_while(Result::ok) {
            match obey(&control, &config, &line) {
                Ok(answer) => println!("{answer}"),
                Err(error) => println!("error: {error}"),
            }
        }
        drop(end);
    });
    runtime.block_on(async {
        tokio::select! {
            () = proxy.run(std::future::pending()) => {}
            _ = ended => {}
        }
    });
    Ok(())
}

fn settle(settings: &[String], lines: &str) -> anyhow::Result<Config> {
    let mut group = Group::new("app", Members::Static(parse_servers(lines)?));
    let mut config = Config::listen("127.0.0.1:0".parse()?);
    for setting in settings {
        let (key, value) =
            setting.split_once('=').with_context(|| format!("expected key=value: {setting}"))?;
        match key {
            "listen" => config.listeners[0].at = Endpoint::Tcp(value.parse()?),
            "tls" => {
                let (certificate, key) = value.split_once(',').context("expected tls=CERTIFICATE,KEY")?;
                let files = Certificate { certificate: certificate.into(), key: key.into(), chain: None };
                config.listeners[0].tls = Some(Tls { certificates: vec![files] });
            }
            "log" => {
                config.access_log = Some(AccessLog { path: Some(value.into()), format: LogFormat::Combined });
            }
            "trust" => config.trust.push(value.parse()?),
            "sessions_per_second" => config.limits.sessions_per_second = value.parse()?,
            "affinity" => group.affinity = value.split(',').map(affinity).collect::<anyhow::Result<_>>()?,
            "algorithm" => {
                group.algorithm = match value {
                    "least" => Algorithm::LeastConnections,
                    "turns" => Algorithm::RoundRobin,
                    "random" => Algorithm::Random,
                    "two" => Algorithm::TwoChoices,
                    other => bail!("no algorithm {other}"),
                }
            }
            "pace" => group.drain.pace = value.parse()?,
            "rebalance" => group.drain.rebalance = value.parse()?,
            "interval" => group.health.interval = Duration::from_millis(value.parse()?),
            "wait" => group.queue.wait_max = Duration::from_millis(value.parse()?),
            "threads" => {}
            "path" => value.clone_into(&mut group.engine_path),
            "members" => {
                group.members = match value.split_once(':') {
                    Some(("file", path)) => Members::File(path.into()),
                    _ => bail!("expected members=file:PATH"),
                }
            }
            other => bail!("no setting {other}"),
        }
    }
    config.sites = vec![Site::everything("app")];
    config.groups = vec![group];
    Ok(config)
}

fn affinity(word: &str) -> anyhow::Result<Affinity> {
    let cookie =
        |name: &str, mode| Affinity::Cookie(Cookie { name: name.to_owned(), mode, ..Cookie::default() });
    Ok(match word.split_once(':').unwrap_or((word, "")) {
        ("sid", _) => Affinity::Sid,
        ("insert", name) => cookie(name, CookieMode::Insert),
        ("prefix", name) => cookie(name, CookieMode::Prefix),
        ("rewrite", name) => cookie(name, CookieMode::Rewrite),
        ("address", _) => Affinity::Address { three_octets: false, bound_percent: 0 },
        ("bounded", _) => Affinity::Address { three_octets: false, bound_percent: 125 },
        ("ip_hash", _) => Affinity::Address { three_octets: true, bound_percent: 0 },
        ("forwarded", _) => Affinity::ForwardedFor,
        ("header", name) => Affinity::Header(name.to_owned()),
        (other, _) => bail!("no affinity {other}"),
    })
}

fn obey(control: &Control, config: &Config, line: &str) -> anyhow::Result<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        ["stats"] => Ok(stats(control)),
        ["state", name, state] => {
            let state = match state {
                "up" => ServerState::Up,
                "drain" => ServerState::Drain,
                "maintenance" => ServerState::Maintenance,
                other => bail!("no state {other}"),
            };
            control.set_state("app", name, state)?;
            Ok("ok".to_owned())
        }
        ["servers", ..] => {
            let lines = line.trim_start_matches("servers").replace(';', "\n");
            let mut config = config.clone();
            config.groups[0].members = Members::Static(parse_servers(&lines)?);
            control.apply(config)?;
            Ok("ok".to_owned())
        }
        _ => Err(anyhow!("expected stats, state NAME STATE or servers LINE; LINE: {line}")),
    }
}

/// One line: what the tests look at, as JSON.
fn stats(control: &Control) -> String {
    let stats = control.stats();
    let servers = stats.groups.iter().flat_map(|group| &group.servers).map(|server| {
        let began = server.drain_began_with.map_or("null".to_owned(), |began| began.to_string());
        format!(
            r#"{{"name":"{}","condition":"{:?}","sessions":{},"onTheWay":{},"tunnels":{},"began":{began}}}"#,
            server.name, server.condition, server.sessions, server.on_the_way, server.tunnels
        )
    });
    let servers: Vec<String> = servers.collect();
    let moved: u64 = stats.groups.iter().map(|group| group.moved).sum();
    format!(
        r#"{{"unknown":{},"unavailable":{},"heldOff":{},"moved":{moved},"servers":[{}]}}"#,
        stats.unknown_sids,
        stats.unavailable,
        stats.held_off,
        servers.join(",")
    )
}
