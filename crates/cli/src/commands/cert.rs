//! `sockeye cert`: a self-signed certificate for tests.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use crate::exit;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

/// What to make.
#[derive(Debug, Subcommand)]
enum What {
    /// Make a key and a certificate that it signs itself: for tests, since no browser trusts it
    SelfSigned(SelfSigned),
}

/// What the certificate is for.
#[derive(Debug, Args)]
struct SelfSigned {
    /// A name or an address that it is for; can be given again
    #[arg(long, value_name = "HOST", required = true)]
    host: Vec<String>,
    /// How many days it is good for
    #[arg(long, value_name = "N", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
    /// The certificate's file
    #[arg(long, value_name = "FILE", default_value = "cert.pem")]
    cert: PathBuf,
    /// The key's file, which only this user can read
    #[arg(long, value_name = "FILE", default_value = "key.pem")]
    key: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

/// A day's seconds.
const DAY: Duration = Duration::from_secs(86_400);

/// Makes what was asked for.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let What::SelfSigned(wanted) = &flags.what;
    for host in &wanted.host {
        if !is_host(host) {
            bail!("--host {host}: expected a name such as io.example.com or *.example.com, or an address");
        }
    }
    let mut params = CertificateParams::new(wanted.host.clone()).context("cannot make a certificate")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, wanted.host[0].as_str());
    let now = SystemTime::now();
    // A clock that is a little behind is no reason to refuse it.
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * wanted.days).into();
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = params.self_signed(&key).context("cannot make a certificate")?;
    // The key first: a certificate without its key is of no use.
    write(&wanted.key, &key.serialize_pem(), 0o600, wanted.force)?;
    write(&wanted.cert, &certificate.pem(), 0o644, wanted.force)?;
    exit::say(&format!(
        "{} and {}: {}, good for {} days",
        wanted.cert.display(),
        wanted.key.display(),
        wanted.host.join(", "),
        wanted.days
    ));
    Ok(())
}

/// Writes a file whose mode is right from its first byte.
fn write(path: &Path, text: &str, mode: u32, force: bool) -> anyhow::Result<()> {
    if force {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot replace {}", path.display())),
        }
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already: --force replaces it, or choose another name", path.display())
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display()))?,
    };
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn is_host(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}
