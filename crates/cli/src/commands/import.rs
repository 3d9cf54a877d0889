//! `sockeye import`: a configuration of nginx, HAProxy or Apache, as a file of settings.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use sockeye_settings::import::{Kind, import};

use crate::exit;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The file, such as nginx.conf, haproxy.cfg or httpd.conf
    file: PathBuf,
    /// Whose it is [default: by its look]
    #[arg(long)]
    from: Option<From>,
}

/// Whose configuration it is.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// nginx
    Nginx,
    /// HAProxy
    Haproxy,
    /// Apache httpd
    Apache,
}

/// Writes the file of settings to standard output, and to standard error what has no counterpart.
pub(crate) fn run(flags: &Flags) -> ExitCode {
    let name = flags.file.display();
    let text = match std::fs::read_to_string(&flags.file) {
        Ok(text) => text,
        Err(error) => return exit::complain(exit::FAILED, &format!("cannot read {name}: {error}")),
    };
    let kind = match flags.from {
        Some(From::Nginx) => Some(Kind::Nginx),
        Some(From::Haproxy) => Some(Kind::HaProxy),
        Some(From::Apache) => Some(Kind::Apache),
        None => Kind::guess(&text),
    };
    let Some(kind) = kind else {
        return exit::complain(
            exit::FAILED,
            &format!(
                "{name} looks like no configuration of nginx, HAProxy or Apache: say whose it is by --from"
            ),
        );
    };
    let imported = import(kind, &text);
    if imported.text.is_empty() {
        return exit::complain(
            exit::FAILED,
            &format!("{name} has no listener, no server and no site that were understood"),
        );
    }
    exit::say(imported.text.trim_end());
    for note in &imported.notes {
        exit::complain_lines(exit::OK, &format!("{name}: {note}"));
    }
    ExitCode::from(exit::OK)
}
