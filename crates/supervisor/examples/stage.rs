//! The players of this crate's tests, each a process of its own: a smallest worker, a parent, the tether.
//!
//! `stage worker [deaf]` · `stage supervise <instances> <base> <program> [arguments]…` · `stage tether <pid> -- <program> …`

use std::env;
use std::ffi::OsString;
use std::future;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use sockeye_link::{Event, Parent, Ready};
use sockeye_supervisor::{Config, RuntimeDir, Supervisor, tether};

fn main() -> io::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let player = arguments.next().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match player.to_str() {
        Some("worker") if arguments.next().is_none() => runtime.block_on(work()),
        Some("worker") => runtime.block_on(future::pending()),
        Some("supervise") => runtime.block_on(supervise(arguments)),
        Some("tether") => tie(arguments),
        Some(_) | None => Err(missing("worker, supervise or tether")),
    }
}

/// Answers each connection with its instance number and the bytes that came with it.
async fn work() -> io::Result<()> {
    let (mut parent, assign) = Parent::from_env().await.ok_or_else(|| missing("a parent"))??;
    let _http = UnixListener::bind(&assign.http_path)?;
    let _mesh = UnixListener::bind(assign.mesh_dir.join(format!("{}.sock", assign.tag)))?;
    println!("serving as {} with port {:?} and {:?} threads", assign.tag, assign.port, assign.threads);
    parent.reporter().ready(Ready {
        tag: assign.tag,
        http: assign.http_path,
        port: assign.port,
        asked: None,
    });
    let mut served = 0;
    loop {
        match parent.next().await {
            Event::Connection(mut connection) => {
                let instance = env::var("SOCKEYE_WORKER").unwrap_or_default();
                write!(connection.stream, "{instance}:")?;
                connection.stream.write_all(&connection.read)?;
                served += 1;
                parent.reporter().load(0, served);
            }
            Event::Drain(_) => parent.reporter().draining(),
            Event::Shed(_) => {}
            Event::Stop | Event::Gone => break,
        }
    }
    parent.bye().await;
    Ok(())
}

/// Runs a program and tells what happens to it, until it is killed.
async fn supervise(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let instances = arguments.next().and_then(|n| n.to_str()?.parse::<NonZeroU32>().ok());
    let base = arguments.next().map(PathBuf::from).ok_or_else(|| missing("a base"))?;
    let mut config = Config::new(arguments.next().ok_or_else(|| missing("a program"))?);
    config.instances = instances.ok_or_else(|| missing("a number of instances"))?;
    let own = OsString::from(std::process::id().to_string());
    config.arguments =
        arguments.map(|argument| if argument == "OWN_PID" { own.clone() } else { argument }).collect();
    let directory = RuntimeDir::create_in(&base)?;
    let mut supervisor =
        Supervisor::start(config, directory, |line| println!("{line}")).map_err(io::Error::other)?;
    while let Some(event) = supervisor.next().await {
        println!("{event:?}");
    }
    Ok(())
}

fn tie(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let parent =
        arguments.next().and_then(|pid| pid.to_str()?.parse().ok()).ok_or_else(|| missing("a pid"))?;
    let program = arguments.nth(1).ok_or_else(|| missing("a program"))?;
    Err(tether::exec(parent, program, arguments))
}

fn missing(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("expected {what}"))
}
