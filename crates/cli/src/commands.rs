//! The subcommands: one file each, which holds the command's flags and runs it.
//!
//! A command more is a file more in `commands/`, a variant of [`Command`], and an arm of [`Command::run`]. What several commands share stands beside this file.

mod apply;
mod cert;
mod check;
mod doctor;
mod emit;
mod import;
mod ports;
mod tether;
mod up;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit;
use crate::flags::UpFlags;

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

impl Command {
    fn run(self) -> ExitCode {
        match self {
            Self::Up(flags) => up::run(&flags),
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
