//! The preload: JavaScript that makes the copies of an unmodified Node.js app one server (`docs/node-apps.md`).
//!
//! Compiled in, written to a runtime directory, and named to Node.js by `NODE_OPTIONS`. What it does and what it leaves alone stands in its
//! files; what it says to its parent is the [plain link](sockeye_link::plain).

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The files, by name; the first one is what Node.js is told to load.
const FILES: [(&str, &str); 11] = [
    ("preload.cjs", include_str!("../preload/preload.cjs")),
    ("adapter.cjs", include_str!("../preload/adapter.cjs")),
    ("engines.cjs", include_str!("../preload/engines.cjs")),
    ("link.cjs", include_str!("../preload/link.cjs")),
    ("listen.cjs", include_str!("../preload/listen.cjs")),
    ("mesh.cjs", include_str!("../preload/mesh.cjs")),
    ("msgpack.cjs", include_str!("../preload/msgpack.cjs")),
    ("peers.cjs", include_str!("../preload/peers.cjs")),
    ("recoverable.cjs", include_str!("../preload/recoverable.cjs")),
    ("recovery.cjs", include_str!("../preload/recovery.cjs")),
    ("servers.cjs", include_str!("../preload/servers.cjs")),
];

/// The variable whose options Node.js reads before those of its command line.
pub const NODE_OPTIONS: &str = "NODE_OPTIONS";

/// Writes the files into `directory`, which is made if it is missing, and says which one Node.js has to load.
///
/// # Errors
/// When the directory is not ours to write.
pub fn write(directory: &Path) -> io::Result<PathBuf> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for (name, text) in FILES {
        let path = directory.join(name);
        // Whole or not at all: a process may be starting.
        let making = directory.join(format!("{name}.new"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&making)?;
        file.write_all(text.as_bytes())?;
        fs::rename(making, path)?;
    }
    Ok(script(directory))
}

/// The file that Node.js has to load, of those in `directory`.
#[must_use]
pub fn script(directory: &Path) -> PathBuf {
    directory.join(FILES[0].0)
}

/// `NODE_OPTIONS` with the preload before whatever the user has there.
#[must_use]
pub fn node_options(preload: &Path, users: Option<&OsStr>) -> OsString {
    // Node.js takes `\"` and `\\` between quotation marks for what they look like.
    let path = preload.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
    let mut options = OsString::from(format!("--require \"{path}\""));
    if let Some(users) = users.filter(|users| !users.is_empty()) {
        options.push(" ");
        options.push(users);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn the_users_options_are_kept() {
        let check = |path: &str, users: Option<&str>, expected: &str| {
            assert_eq!(node_options(Path::new(path), users.map(OsStr::new)), expected);
        };
        check("/r/preload.cjs", None, r#"--require "/r/preload.cjs""#);
        check("/r/preload.cjs", Some(""), r#"--require "/r/preload.cjs""#);
        check("/r/a b.cjs", Some("--inspect=0 -r x"), r#"--require "/r/a b.cjs" --inspect=0 -r x"#);
        check(r#"/r/"\.cjs"#, None, r#"--require "/r/\"\\.cjs""#);
    }

    #[test]
    fn every_file_is_written_for_the_user_alone_also_over_old_ones() {
        let base = tempfile::tempdir().unwrap();
        let directory = base.path().join("preload");
        write(&directory).unwrap();
        let entry = write(&directory).unwrap();
        assert_eq!(fs::read_to_string(&entry).unwrap(), FILES[0].1);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), FILES.len());
        assert_eq!(fs::metadata(&entry).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn every_file_that_another_one_needs_is_there() {
        for (name, text) in FILES {
            let needs = text.split("require(\"./").skip(1).filter_map(|rest| rest.split('"').next());
            for need in needs {
                assert!(FILES.iter().any(|(other, _)| *other == need), "{name} needs {need}");
            }
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/preload");
        assert_eq!(fs::read_dir(folder).unwrap().count(), FILES.len(), "a file is not compiled in");
    }

    #[test]
    fn node_takes_a_path_with_blanks_and_quotation_marks() {
        let base = tempfile::tempdir().unwrap();
        let entry = write(&base.path().join("a \"b\" \\c")).unwrap();
        let node = Command::new("node")
            .args(["-p", "process.env.USERS"])
            .env(NODE_OPTIONS, node_options(&entry, Some(OsStr::new("--no-warnings"))))
            .env("USERS", "kept")
            .env("SOCKEYE_PLAIN_LINK", "/nowhere")
            .output();
        let Ok(output) = node else { return println!("skipped: node is not installed") };
        assert_eq!(String::from_utf8_lossy(&output.stdout), "kept\n", "{output:?}");
    }
}
