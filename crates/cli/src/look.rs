//! What a file names on this machine, looked at before anything is opened: `up`, `apply` and `check` refuse the same, each with its line and the fix.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{Access, access};
use sockeye::Secret;
use sockeye_edge::config::{Certificate, TlsError};
use sockeye_settings::{Fault, Thing, Token};
use sockeye_supervisor::{AppSpec, Launch};

use crate::tenant::Recipe;
use crate::token;

/// Looks at one thing. `base` is the directory from which apps are started, `env` what their shell has.
pub(crate) fn look(thing: &Thing<'_>, base: &Path, env: &BTreeMap<String, String>) -> Result<(), Fault> {
    let fault = |message: String| Fault { key: String::new(), message };
    match thing {
        Thing::Certificate(certificate) => pair(certificate),
        Thing::Token(path) => token(path).map_err(fault),
        Thing::Log(path) => match path.metadata() {
            Ok(found) if found.is_dir() => {
                Err(fault("this is a directory: name a file in it, such as access.log".to_owned()))
            }
            Ok(_) => may(path, Access::WRITE_OK).map_err(|error| {
                fault(format!(
                    "cannot write to {}: {error}: choose another file, or another user",
                    path.display()
                ))
            }),
            Err(_) => beside(path).map_err(fault),
        },
        Thing::Socket(path) => match path.symlink_metadata() {
            Ok(found) if !found.file_type().is_socket() => {
                Err(fault(format!("{} is there, and no socket: choose another path", path.display())))
            }
            Ok(_) | Err(_) => beside(path).map_err(fault),
        },
        Thing::Directory(path) => match path.metadata() {
            Ok(found) if found.is_dir() => may(path, Access::READ_OK | Access::EXEC_OK)
                .map_err(|error| fault(format!("cannot read {}: {error}", path.display()))),
            Ok(_) => {
                Err(fault(format!("{} is no directory: name the one that the files lie in", path.display())))
            }
            Err(error) => {
                Err(fault(format!("cannot read {}: {error}: make it, or check the path", path.display())))
            }
        },
        Thing::Watched(path) => may(path, Access::READ_OK).map_err(|error| {
            fault(format!("cannot read {}: {error}: the group has no server until it can be", path.display()))
        }),
        Thing::App { name, spec } => app(name, spec, base, env),
    }
}

/// A certificate, its chain and its key.
fn pair(files: &Certificate) -> Result<(), Fault> {
    let Err(error) = files.check() else { return Ok(()) };
    let of = |path: &Path| match path {
        path if path == files.certificate => "certificate",
        path if Some(path) == files.chain.as_deref() => "chain",
        _ => "key",
    };
    let key = match &error {
        TlsError::NotRead { path, .. }
        | TlsError::NoCertificate(path)
        | TlsError::NoKey(path)
        | TlsError::EncryptedKey { path }
        | TlsError::NotUsable { path, .. } => of(path),
        TlsError::Mismatch { .. } => "key",
        TlsError::NoneGiven | TlsError::Library(_) => "certificate",
    };
    let swapped = Certificate { certificate: files.key.clone(), key: files.certificate.clone(), chain: None };
    let fix = if matches!(error, TlsError::NotRead { .. }) {
        ": check the path, or make one with sockeye cert self-signed"
    } else if swapped.check().is_ok() {
        "; certificate and key are swapped: name each other's file"
    } else {
        ""
    };
    Err(Fault { key: key.to_owned(), message: format!("{error}{fix}") })
}

fn token(path: &Path) -> Result<(), String> {
    let text = token::read(&Token::File(path.to_owned())).map_err(|error| {
        let told = format!("{error:#}");
        let told = told.strip_prefix("admin.token_file: ").unwrap_or(&told).to_owned();
        let fix =
            if told.starts_with("cannot read") { ": openssl rand -hex 32 makes a token for it" } else { "" };
        format!("{told}{fix}")
    })?;
    Secret::new(text).map(drop).map_err(|error| error.to_string())
}

/// A program, as what starts it finds it.
fn app(name: &str, spec: &AppSpec, base: &Path, env: &BTreeMap<String, String>) -> Result<(), Fault> {
    let launch = Launch { name: name.to_owned(), spec: spec.clone(), cwd: base.to_owned(), env: env.clone() };
    Recipe::new(launch, None).check().map_err(|error| {
        let told = format!("{error:#}");
        let told = told.strip_prefix(&format!("app.{name}: ")).unwrap_or(&told);
        let (key, message) = told.split_once(": ").unwrap_or(("command", told));
        let fix = if key == "command" { ": check its path, or install it" } else { "" };
        Fault { key: key.to_owned(), message: format!("{message}{fix}") }
    })
}

/// Whether something can be made at a path.
fn beside(path: &Path) -> Result<(), String> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let is_there = directory.metadata().and_then(|found| match found.is_dir() {
        true => may(directory, Access::WRITE_OK | Access::EXEC_OK),
        false => Err(io::ErrorKind::NotADirectory.into()),
    });
    is_there.map_err(|error| {
        format!(
            "cannot make it in {}: {error}: make that directory, or choose another path",
            directory.display()
        )
    })
}

fn may(path: &Path, what: Access) -> io::Result<()> {
    access(path, what).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_told_with_its_fix() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("plain"), "short").unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        let told = |thing: Thing<'_>| {
            look(&thing, directory.path(), &BTreeMap::new())
                .err()
                .map(|fault| fault.message)
                .unwrap_or_default()
        };
        let (gone, plain, dir) = (at("gone"), at("plain"), at("dir"));
        let below = at("gone/a");
        for (thing, expected) in [
            (Thing::Token(&gone), "makes a token for it"),
            (Thing::Token(&plain), "fewer than 16 characters"),
            (Thing::Log(&dir), "name a file in it"),
            (Thing::Log(&below), "make that directory"),
            (Thing::Log(&gone), ""),
            (Thing::Log(&plain), ""),
            (Thing::Socket(&plain), "no socket"),
            (Thing::Socket(&below), "make that directory"),
            (Thing::Socket(&gone), ""),
            (Thing::Directory(&gone), "check the path"),
            (Thing::Directory(&plain), "is no directory"),
            (Thing::Directory(&dir), ""),
            (Thing::Watched(&gone), "no server until"),
            (Thing::Watched(&plain), ""),
        ] {
            let told = told(thing);
            assert!(
                if expected.is_empty() { told.is_empty() } else { told.contains(expected) },
                "{thing:?}: {told}"
            );
        }
    }

    #[test]
    fn of_a_pair_the_wrong_one_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["a", "b"] {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            std::fs::write(at(&format!("{name}.pem")), made.cert.pem()).unwrap();
            std::fs::write(at(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
        }
        for (certificate, key, wrong, expected) in [
            ("a.pem", "a.key", "", ""),
            ("nope.pem", "a.key", "certificate", "sockeye cert self-signed"),
            ("a.pem", "nope.key", "key", "sockeye cert self-signed"),
            ("a.key", "a.pem", "certificate", "are swapped"),
            ("a.pem", "b.key", "key", "does not belong"),
        ] {
            let files = Certificate { certificate: at(certificate), key: at(key), chain: None };
            let fault = pair(&files).err().unwrap_or(Fault { key: String::new(), message: String::new() });
            assert_eq!(fault.key, wrong, "{fault:?}");
            assert!(fault.message.contains(expected), "{fault:?}");
        }
    }
}
