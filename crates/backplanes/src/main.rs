//! The program `sockeye-backplanes`: the command `sockeye`, with the clients of all backplanes. `sockeye` becomes this program where one is needed.

use std::process::ExitCode;

use anyhow::bail;
use sockeye_adapters::Backplane;
use sockeye_cli::{Backplanes, Opening};

fn main() -> ExitCode {
    sockeye_cli::run(Some(Backplanes { check, open }))
}

fn check(url: &str) -> anyhow::Result<()> {
    url.parse::<Backplane>()?;
    Ok(())
}

fn open(url: String) -> Opening {
    Box::pin(async move {
        match url.parse()? {
            Backplane::Adapter(named) => Ok(named.into_adapter().await?),
            Backplane::Mesh(_) => bail!("expected a backplane, got a directory of this machine"),
        }
    })
}
