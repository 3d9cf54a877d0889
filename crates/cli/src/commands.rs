//! The subcommands: one file each, which holds the command's flags and runs it.
//!
//! A command more is a file more in `commands/`, a variant of [`Command`], and an arm of [`Command::run`]. What several commands share stands beside this file.

mod apply;
mod attach;
mod cert;
mod change;
mod check;
mod completion;
mod daemon;
mod describe;
mod desk;
mod doctor;
mod emit;
mod import;
mod list;
mod logs;
mod monit;
mod ports;
mod start;
mod startup;
mod tether;
mod up;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::flags::UpFlags;
use crate::{exit, keeper};

/// Socket.IO at any scale: one public port before as many workers as there are cores.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, args_conflicts_with_subcommands = true, after_help = exit::CODES)]
pub(crate) struct Flags {
    /// What to do; `up` if nothing is said.
    #[command(subcommand)]
    command: Option<Command>,
    /// The flags of `up`.
    #[command(flatten)]
    up: UpFlags,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run a file of settings, or without one the bundled chat behind one port, in the foreground. The default
    #[command(after_help = exit::CODES)]
    Up(up::Flags),
    /// Run scripts, programs or a process file in the background, and keep them running
    #[command(after_help = exit::CODES)]
    Start(Box<start::Flags>),
    /// End apps, and leave them in the list
    Stop(change::Plain),
    /// End apps, and start them anew at once
    Restart(change::Again),
    /// Replace the instances of apps one after the other, without a gap
    Reload(change::Again),
    /// End apps, and forget them
    #[command(visible_alias = "del")]
    Delete(change::Plain),
    /// Change how many instances an app has: 4, +1 or -1
    Scale(change::Scale),
    /// List all instances
    #[command(visible_aliases = ["ls", "ps", "status"])]
    List(list::Flags),
    /// Say all that is known of apps
    #[command(visible_aliases = ["show", "info"])]
    Describe(describe::Flags),
    /// Show the log files of apps, and go on with what comes
    Logs(logs::Flags),
    /// Show a screen with what apps use and say
    Monit(monit::Flags),
    /// Show what an app says, and give it what is typed
    Attach(attach::Flags),
    /// Empty the log files of apps
    Flush(change::Flush),
    /// Show the variables that apps run with, without secrets
    Env(describe::Flags),
    /// Send a signal to apps
    Signal(change::SignalFlags),
    /// Write down what runs, for resurrect and for the next boot
    Save(desk::Flags),
    /// Start what was saved and does not run
    Resurrect(desk::Flags),
    /// Bring the saved list back at each boot, by systemd
    Startup(startup::Flags),
    /// Undo startup
    Unstartup(startup::Flags),
    /// Say whether the daemon runs
    Ping(desk::Flags),
    /// End all apps and the daemon
    Kill(desk::Flags),
    /// Write what a shell needs to complete this command
    Completion(completion::Flags),
    /// Be the registry of the user's apps; started by start
    Daemon(daemon::Flags),
    /// Keep one app; started by the daemon
    #[command(hide = true)]
    Keep,
    /// Say what is wrong with a file of settings, or what it holds
    Check(check::Flags),
    /// Give a changed file to the `up` that runs it; no connection is closed
    Apply(apply::Flags),
    /// Turn a configuration of nginx, HAProxy or Apache into a file of settings
    Import(import::Flags),
    /// Make a self-signed certificate, for tests
    Cert(cert::Flags),
    /// List the ports that a file of settings needs open
    Ports(ports::Flags),
    /// Say something to clients of servers that run: an event, to all or to rooms
    #[command(after_help = emit::HELP)]
    Emit(emit::Flags),
    /// Say what is wrong with a Socket.IO deployment, ours or not: asked as clients do, or by a balancer's file
    #[command(after_help = doctor::HELP)]
    Doctor(doctor::Flags),
    /// Be one worker; started by `up`
    #[command(hide = true)]
    Worker(worker::Flags),
    /// Run a program that ends with its parent; started by a supervisor
    #[command(hide = true)]
    Tether(tether::Flags),
}

impl Flags {
    /// Does what was typed.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Some(command) => command.run(),
            None => up::run_chat(&self.up),
        }
    }
}

/// Runs what a daemon or a keeper is, where the words are exactly those with which they are started: these live long, and the tables of all commands and flags would stay in their memory.
pub(crate) fn run_internal() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let (first, None) = (words.next()?, words.next()) else { return None };
    match first.to_str()? {
        "daemon" => Some(exit::end(daemon::run(&daemon::Flags::default()))),
        "keep" => Some(exit::conclude(keeper::run())),
        _ => None,
    }
}

impl Command {
    fn run(self) -> ExitCode {
        match self {
            Self::Up(flags) => up::run(&flags),
            Self::Start(flags) => exit::end(start::run(&flags)),
            Self::Stop(flags) => exit::end(change::stop(flags)),
            Self::Restart(flags) => exit::end(change::restart(flags)),
            Self::Reload(flags) => exit::end(change::reload(flags)),
            Self::Delete(flags) => exit::end(change::delete(flags)),
            Self::Scale(flags) => exit::end(change::scale(flags)),
            Self::List(flags) => exit::end(list::run(&flags)),
            Self::Describe(flags) => exit::end(describe::describe(&flags)),
            Self::Logs(flags) => exit::end(logs::run(&flags)),
            Self::Monit(flags) => exit::end(monit::run(&flags)),
            Self::Attach(flags) => exit::end(attach::run(&flags)),
            Self::Flush(flags) => exit::end(change::flush(flags)),
            Self::Env(flags) => exit::end(describe::env(&flags)),
            Self::Signal(flags) => exit::end(change::signal(flags)),
            Self::Save(flags) => exit::end(desk::save(&flags)),
            Self::Resurrect(flags) => exit::end(desk::resurrect(&flags)),
            Self::Startup(flags) => exit::end(startup::startup(&flags)),
            Self::Unstartup(flags) => exit::end(startup::unstartup(&flags)),
            Self::Ping(flags) => exit::end(desk::ping(&flags)),
            Self::Kill(flags) => exit::end(desk::kill(&flags)),
            Self::Completion(flags) => completion::run(&flags, &mut Flags::command()),
            Self::Daemon(flags) => exit::end(daemon::run(&flags)),
            Self::Keep => exit::conclude(keeper::run()),
            Self::Check(flags) => check::run(&flags),
            Self::Apply(flags) => apply::run(&flags),
            Self::Import(flags) => import::run(&flags),
            Self::Cert(flags) => exit::conclude(cert::run(&flags)),
            Self::Ports(flags) => ports::run(&flags),
            Self::Emit(flags) => emit::run(flags),
            Self::Doctor(flags) => doctor::run(&flags),
            Self::Worker(flags) => exit::conclude(worker::run(&flags)),
            Self::Tether(flags) => tether::run(flags),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{App, complaint};
    use sockeye_supervisor::Instances;
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;
    use std::time::Duration;

    #[test]
    fn what_is_typed_is_what_is_meant() {
        let flags = up(&[]);
        assert_eq!((flags.host.to_string().as_str(), flags.port), ("127.0.0.1", 3000));
        assert_eq!((flags.instances, flags.app, flags.worker_ports), (Instances::Max, App::Chat, None));
        assert_eq!(
            up(&["--port", "0", "-i", "2"]).instances,
            Instances::Exactly(NonZeroU32::new(2).unwrap())
        );
        assert_eq!(up(&["up", "-i", "-1"]).instances, Instances::AllBut(1));
        assert_eq!(up(&["up", "-i", "max"]).instances, Instances::Max);
        assert_eq!(up(&["up", "--worker-ports"]).worker_ports, Some(None));
        assert_eq!(up(&["up", "--worker-ports", "4000", "-i", "2"]).worker_ports, Some(Some(4000)));
        assert_eq!(up(&["up", "--drain", "1.5"]).drain, Duration::from_millis(1500));
        assert_eq!(up(&["--host", "localhost"]).host, Ipv4Addr::LOCALHOST);
    }

    #[test]
    fn what_cannot_be_is_one_line_with_the_flag_the_value_and_the_fix() {
        let rows: [(&[&str], &str); 12] = [
            (
                &["up", "--port", "99999"],
                "invalid value '99999' for '--port <PORT>': expected a port from 0 to 65535, such as 3000",
            ),
            (
                &["up", "-i", "0"],
                "invalid value '0' for '--instances <N>': expected max, -1 or a number from 1 to 1024, such as -i 2",
            ),
            (
                &["--host", "not an address"],
                "invalid value 'not an address' for '--host <ADDRESS>': expected an IP address of this machine, such as 127.0.0.1 or 0.0.0.0",
            ),
            (
                &["--threads", "0"],
                "invalid value '0' for '--threads <N>': expected a number from 1 to 1024, such as --threads 2",
            ),
            (&["--drain", "-1"], "unexpected argument '-1' found, see sockeye --help"),
            (&["up", "--bogus"], "unexpected argument '--bogus' found, see sockeye --help"),
            (&["up", "--prot", "1"], "unexpected argument '--prot' found, did you mean --port?"),
            (&["worker"], "the following required arguments were not provided: <APP>, see sockeye --help"),
            (
                &["--app", "x"],
                "invalid value 'x' for '--app <APP>' [possible values: chat, contract, features, msgpack], see sockeye --help",
            ),
            (&["uq"], "unrecognized subcommand 'uq', see sockeye --help"),
            (&["upp"], "unrecognized subcommand 'upp', did you mean up?"),
            (
                &["--port"],
                "a value is required for '--port <PORT>' but none was supplied, see sockeye --help",
            ),
        ];
        for (typed, expected) in rows {
            let error = Flags::try_parse_from(["sockeye"].iter().chain(typed)).unwrap_err();
            assert_eq!(complaint(&error).as_deref(), Some(expected));
        }
        let help = Flags::try_parse_from(["sockeye", "--help"]).unwrap_err();
        assert_eq!(complaint(&help), None);
    }

    fn up(typed: &[&str]) -> UpFlags {
        let flags = Flags::try_parse_from(["sockeye"].iter().chain(typed)).unwrap();
        match flags.command {
            Some(Command::Up(flags)) => flags.up,
            None => flags.up,
            other => panic!("{other:?}"),
        }
    }
}
