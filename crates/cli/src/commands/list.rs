//! `sockeye list`: all instances. It needs no daemon and starts none.

use std::process::ExitCode;

use clap::Args;

use crate::apps::{Shape, rows, say, say_json, table};
use crate::exit;
use crate::holder;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    shape: Shape,
}

pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let rows = rows::rows(&holder::places()?)?;
    match flags.shape.json {
        true => say_json(&rows),
        false => say(&table::list(&rows)),
    }
    Ok(ExitCode::from(exit::OK))
}
