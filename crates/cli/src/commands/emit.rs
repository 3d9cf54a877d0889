//! `sockeye emit`: an event for clients of servers that run, by their backplane, or by the mesh of their machine.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use sockeye::{Adapter, Config, Server};
use sockeye_emitter::{Emitter, Target};

use crate::backplane::Backplanes;
use crate::cluster::{ADAPTER_VARIABLE, MESH};
use crate::{backplane, cluster, exit, log, runtime};

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The name of the event
    event: String,
    /// Its arguments, each a JSON value: 1, true, '"text"', '{"a": [1, 2]}'
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    args: Vec<String>,
    /// The arguments as one JSON array (anything else is one argument); `-` reads it from standard input
    #[arg(long, value_name = "JSON", allow_hyphen_values = true, conflicts_with = "args")]
    json: Option<String>,
    /// For the sockets of this room, or of one of several; else for all
    // A socket's id is a room, and one of 64 begins with a hyphen.
    #[arg(long, value_name = "ROOM", allow_hyphen_values = true)]
    to: Vec<String>,
    /// But not for those of this room
    #[arg(long, value_name = "ROOM", allow_hyphen_values = true)]
    except: Vec<String>,
    /// The namespace
    #[arg(long, value_name = "NAME", default_value = "/")]
    nsp: String,
    /// The servers' backplane: redis://, redis+sharded://, redis+streams://, postgres://, mongodb://, nats:// or mesh:DIR [default: what SOCKEYE_ADAPTER says]
    #[arg(long, value_name = "URL", conflicts_with = "mesh")]
    adapter: Option<String>,
    /// The directory where servers of this machine meet
    #[arg(long, value_name = "DIR")]
    mesh: Option<PathBuf>,
    /// Let it be lost for clients that cannot take it right away
    #[arg(long)]
    volatile: bool,
}

/// What the help says beside the flags.
pub(crate) const HELP: &str = "\
Examples:
  sockeye emit news '\"it rains\"' --to sports --adapter redis://127.0.0.1
  sockeye emit --mesh /run/app/mesh news '{\"n\": 1}' true --except muted
  echo '[\"it rains\", 2]' | sockeye emit news --json -

Exit codes:
  0  the backplane has it, or the servers of the mesh
  1  it could not be said
  2  the command line makes no sense

Environment:
  SOCKEYE_ADAPTER  the backplane, where neither --adapter nor --mesh is given: a password in it is not seen by `ps`";

/// The most bytes of standard input.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// The way to the servers.
enum Way {
    Adapter(Backplanes, String),
    Mesh(PathBuf),
}

/// Says it.
pub(crate) fn run(flags: Flags) -> ExitCode {
    // First: the standard input is the other program's, if it is that one's to speak.
    let adapter = flags.adapter.as_deref();
    if flags.mesh.is_none()
        && cluster::asks_for_backplane(adapter, |name| std::env::var(name).ok())
        && let Err(error) = backplane::at_hand()
    {
        return exit::complain(exit::FAILED, &format!("{error:#}"));
    }
    let settled = arguments(&flags).and_then(|args| Ok((args, way(&flags, backplane::at_hand)?)));
    match settled {
        Ok((args, way)) => exit::conclude(say(&flags, args, way)),
        Err(error) => exit::complain(exit::USAGE, &format!("{error:#}")),
    }
}

fn say(flags: &Flags, args: sockeye::Args, way: Way) -> anyhow::Result<()> {
    log::start(false)?;
    let runtime = runtime::build(std::num::NonZeroUsize::MIN).context("cannot start")?;
    runtime.block_on(async {
        match way {
            Way::Adapter(backplanes, url) => publish(flags, &args, (backplanes.open)(url).await?).await,
            Way::Mesh(directory) => visit(flags, &args, directory).await,
        }
    })
}

async fn publish(flags: &Flags, args: &sockeye::Args, adapter: Arc<dyn Adapter>) -> anyhow::Result<()> {
    let place = adapter.place();
    let emitter = async { Emitter::new(adapter).await?.of(&flags.nsp).await };
    let emitter = emitter.await.with_context(|| format!("cannot speak on {place}"))?;
    let mut target: Target<'_> = emitter.all();
    for room in &flags.to {
        target = target.to(room.clone());
    }
    for room in &flags.except {
        target = target.except(room.clone());
    }
    if flags.volatile {
        target = target.volatile();
    }
    target.emit(&flags.event, args).await.with_context(|| format!("cannot speak on {place}"))?;
    Ok(())
}

async fn visit(flags: &Flags, args: &sockeye::Args, directory: PathBuf) -> anyhow::Result<()> {
    let shown = directory.display().to_string();
    let mut io = Server::new(Config { mesh_dir: Some(directory), ..Config::default() });
    let namespace = io.namespace(&flags.nsp).handle();
    let guest = io.visit().await?;
    if !guest.has_company() {
        bail!(
            "--mesh {shown}: no server is there; sockeye up shows the directory of its workers with --verbose"
        );
    }
    let mut broadcast = namespace.everybody();
    for room in &flags.to {
        broadcast = broadcast.to(room.clone());
    }
    for room in &flags.except {
        broadcast = broadcast.except(room.clone());
    }
    if flags.volatile {
        broadcast = broadcast.volatile();
    }
    broadcast.emit(&flags.event, args)?;
    guest.leave().await;
    Ok(())
}

/// The arguments of the event.
fn arguments(flags: &Flags) -> anyhow::Result<sockeye::Args> {
    let Some(json) = &flags.json else {
        for arg in &flags.args {
            serde_json::from_str::<serde_json::Value>(arg).ok().ok_or_else(|| {
                anyhow!("argument '{arg}': expected a JSON value; a text wants quotes: '\"{arg}\"'")
            })?;
        }
        return Ok(sockeye::Args::from_json(&format!("[{}]", flags.args.join(",")))?);
    };
    let text = if json == "-" { standard_input()? } else { json.clone() };
    let text = text.trim();
    let array = if text.starts_with('[') { text.to_owned() } else { format!("[{text}]") };
    sockeye::Args::from_json(&array)
        .ok()
        .filter(|_| !text.is_empty())
        .ok_or_else(|| anyhow!("--json '{}': expected JSON, such as '[\"it rains\", 2]'", start_of(text)))
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.context("--json -: expected text in UTF-8 on standard input")?;
    if read as u64 > INPUT_BYTES_MAX {
        bail!("--json -: expected at most {INPUT_BYTES_MAX} bytes on standard input");
    }
    Ok(text)
}

/// The way that the flags, or the environment, name.
fn way(flags: &Flags, at_hand: impl Fn() -> anyhow::Result<Backplanes>) -> anyhow::Result<Way> {
    if let Some(directory) = &flags.mesh {
        return Ok(Way::Mesh(directory.clone()));
    }
    let variable = std::env::var(ADAPTER_VARIABLE).ok().filter(|url| !url.is_empty());
    let (source, url) = match (&flags.adapter, variable) {
        (Some(url), _) => ("--adapter", url.clone()),
        (None, Some(url)) => (ADAPTER_VARIABLE, url),
        (None, None) => {
            bail!("to which servers? Say --adapter URL, such as redis://127.0.0.1, or --mesh DIR")
        }
    };
    if let Some(directory) = url.strip_prefix(MESH) {
        return Ok(Way::Mesh(directory.into()));
    }
    let backplanes = at_hand()?;
    // The address is not repeated: it may hold a password.
    (backplanes.check)(&url).map_err(|error| anyhow!("{source}: {error:#}"))?;
    Ok(Way::Adapter(backplanes, url))
}

fn start_of(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn arguments_are_json_one_by_one_or_all_at_once() {
        type Row<'a> = (&'a [&'a str], Option<&'a str>, Result<&'a str, &'a str>);
        let rows: [Row<'_>; 9] = [
            (&[], None, Ok("")),
            (&["1", "\"a\"", "{\"b\":[true]}"], None, Ok("1,\"a\",{\"b\":[true]}")),
            (
                &["hello"],
                None,
                Err("argument 'hello': expected a JSON value; a text wants quotes: '\"hello\"'"),
            ),
            (&["1,2"], None, Err("argument '1,2'")),
            (&[""], None, Err("argument ''")),
            (&[], Some("[1, 2]"), Ok("1,2")),
            (&[], Some("{\"a\":1}"), Ok("{\"a\":1}")),
            (&[], Some("x"), Err("--json 'x': expected JSON")),
            (&[], Some(" "), Err("--json ''")),
        ];
        for (args, json, expected) in rows {
            let args = args.iter().map(ToString::to_string).collect();
            let flags = Flags { args, json: json.map(ToOwned::to_owned), ..nothing() };
            match (arguments(&flags), expected) {
                (Ok(args), Ok(expected)) => assert_eq!(args.json(), expected.as_bytes()),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (got, expected) => panic!("expected {expected:?}, got {got:?}"),
            }
        }
    }

    #[test]
    fn the_way_is_named_and_no_password_is_repeated() {
        let check = |url: &str| match url.starts_with("kafka") {
            true => Err(anyhow!("no such scheme")),
            false => Ok(()),
        };
        let at_hand = || Ok(Backplanes { check, open: |_| Box::pin(async { bail!("not asked") }) });
        let adapter = |url: &str| way(&Flags { adapter: Some(url.to_owned()), ..nothing() }, at_hand);
        assert!(matches!(adapter("redis://127.0.0.1"), Ok(Way::Adapter(..))));
        assert!(matches!(adapter("mesh:/run/x"), Ok(Way::Mesh(directory)) if directory.ends_with("x")));
        let error = adapter("kafka://:secret@127.0.0.1").err().unwrap().to_string();
        assert_eq!(error, "--adapter: no such scheme");
    }

    /// A socket's id is a room, and may begin with a hyphen; a number may be below zero.
    #[test]
    fn what_begins_with_a_hyphen_is_a_value() {
        let typed = [
            "emit",
            "e",
            "-1",
            "--to",
            "-jQix17IbfT7tumIlfWd",
            "--volatile",
            "--except",
            "--iix17IbfT7tumIlfWd",
        ];
        let matches = Flags::augment_args(clap::Command::new("emit")).get_matches_from(typed);
        let flags = Flags::from_arg_matches(&matches).unwrap();
        assert_eq!(flags.args, ["-1"]);
        assert_eq!(
            (flags.to.as_slice(), flags.except.as_slice()),
            (&["-jQix17IbfT7tumIlfWd".to_owned()][..], &["--iix17IbfT7tumIlfWd".to_owned()][..])
        );
        assert!(flags.volatile);
        let typed = ["emit", "e", "--json", "-1.5"];
        let matches = Flags::augment_args(clap::Command::new("emit")).get_matches_from(typed);
        assert_eq!(Flags::from_arg_matches(&matches).unwrap().json.as_deref(), Some("-1.5"));
    }

    fn nothing() -> Flags {
        Flags {
            event: "e".to_owned(),
            args: Vec::new(),
            json: None,
            to: Vec::new(),
            except: Vec::new(),
            nsp: "/".to_owned(),
            adapter: None,
            mesh: None,
            volatile: false,
        }
    }
}
