//! Which files concern an app, and the thread that hears of their changes.
//!
//! Absent: when the restart comes (the keeper waits until it is quiet).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tracing::warn;

/// How many directories are watched at most; deeper ones are left out, with a warning.
const DIRECTORIES_MAX: usize = 8192;

/// What of all that is written does not concern an app. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignore(Vec<String>);

impl Ignore {
    /// Names (at any depth) and paths (from the app's directory), in which `*` stands for any characters.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        Self(
            patterns
                .iter()
                .map(|pattern| pattern.trim_start_matches("./").trim_end_matches('/').to_owned())
                .collect(),
        )
    }

    /// Whether a path, from the app's directory, is left out: it, or a directory in which it lies.
    #[must_use]
    pub fn has(&self, path: &Path) -> bool {
        self.0.iter().any(|pattern| {
            if pattern.contains('/') {
                path.ancestors().any(|path| fits(pattern.as_bytes(), path.as_os_str().as_bytes()))
            } else {
                path.components().any(|part| fits(pattern.as_bytes(), part.as_os_str().as_bytes()))
            }
        })
    }
}

/// Whether a name fits a pattern with `*`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        Some((first, rest)) => name.first() == Some(first) && fits(rest, &name[1..]),
    }
}

/// Calls `changed` with each path below `root` that changes and is not left out, on a thread that lives as long as this program, or until `changed` says no.
///
/// # Errors
/// When the system has no watch left, or one of the paths is not there.
pub fn watch(
    root: PathBuf,
    paths: &[PathBuf],
    ignore: Ignore,
    mut changed: impl FnMut(&Path) -> bool + Send + 'static,
) -> io::Result<()> {
    let mut tree =
        Tree { descriptor: inotify::init(CreateFlags::CLOEXEC)?, root, ignore, watches: BTreeMap::new() };
    for path in paths {
        let path = tree.root.join(path);
        if path.is_dir() {
            tree.add(&path)?;
        } else {
            tree.add_one(&path)?;
        }
    }
    thread::Builder::new().name("sockeye-watch".to_owned()).spawn(move || {
        if let Err(error) = tree.hear(&mut changed) {
            warn!(%error, "changes of files are not seen any more");
        }
    })?;
    Ok(())
}

struct Tree {
    descriptor: std::os::fd::OwnedFd,
    root: PathBuf,
    ignore: Ignore,
    watches: BTreeMap<i32, PathBuf>,
}

impl Tree {
    fn hear(&mut self, changed: &mut impl FnMut(&Path) -> bool) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        loop {
            let mut seen = Vec::new();
            {
                let mut reader = inotify::Reader::new(&self.descriptor, &mut buffer);
                loop {
                    let event = reader.next()?;
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()).to_owned());
                    seen.push((event.wd(), name, event.events()));
                    if reader.is_buffer_empty() {
                        break;
                    }
                }
            }
            for (watch, name, events) in seen {
                let Some(directory) = self.watches.get(&watch) else { continue };
                let path = name.map_or_else(|| directory.clone(), |name| directory.join(name));
                if events.contains(ReadFlags::IGNORED) {
                    self.watches.remove(&watch);
                    continue;
                }
                if self.is_left_out(&path) {
                    continue;
                }
                if events.contains(ReadFlags::ISDIR) && path.is_dir() {
                    self.add(&path)?;
                }
                if !changed(&path) {
                    return Ok(());
                }
            }
        }
    }

    fn is_left_out(&self, path: &Path) -> bool {
        self.ignore.has(path.strip_prefix(&self.root).unwrap_or(path))
    }

    /// Watches a directory and all below it.
    fn add(&mut self, directory: &Path) -> io::Result<()> {
        let mut waiting = vec![directory.to_owned()];
        while let Some(directory) = waiting.pop() {
            if self.watches.len() >= DIRECTORIES_MAX {
                warn!(directory = %directory.display(), DIRECTORIES_MAX, "too many directories: this one is not watched");
                return Ok(());
            }
            match self.add_one(&directory) {
                // It may be gone already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                outcome => outcome?,
            }
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_directory && !self.is_left_out(&entry.path()) {
                    waiting.push(entry.path());
                }
            }
        }
        Ok(())
    }

    fn add_one(&mut self, path: &Path) -> io::Result<()> {
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO;
        let watch = inotify::add_watch(&self.descriptor, path, what)?;
        self.watches.insert(watch, path.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn names_are_left_out_at_any_depth_and_paths_where_they_are() {
        let ignore = ["node_modules", "*.log", "./data/", "a/*/c"].map(str::to_owned);
        let ignore = Ignore::new(&ignore);
        for (path, left_out) in [
            ("app.js", false),
            ("node_modules/x/index.js", true),
            ("deep/node_modules/x", true),
            ("x.log", true),
            ("x.log.js", false),
            ("data/file", true),
            ("a/b/c/d", true),
            ("a/c", false),
            ("b/a/x/c", false),
        ] {
            assert_eq!(ignore.has(Path::new(path)), left_out, "{path}");
        }
    }

    #[test]
    fn a_change_is_heard_in_directories_made_later_too() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("node_modules")).unwrap();
        let (sender, heard) = mpsc::sync_channel(1024);
        let ignore = Ignore::new(&["node_modules".to_owned()]);
        watch(root.path().to_owned(), &[".".into()], ignore, move |path| {
            sender.send(path.to_owned()).is_ok()
        })
        .unwrap();
        std::fs::write(root.path().join("node_modules/x"), "x").unwrap();
        std::fs::create_dir(root.path().join("late")).unwrap();
        let until = |name: &str| loop {
            let path = heard.recv_timeout(Duration::from_secs(20)).unwrap();
            assert!(!path.ends_with("x"));
            if path.ends_with(name) {
                break;
            }
        };
        until("late");
        std::fs::write(root.path().join("late/app.js"), "1").unwrap();
        until("app.js");
    }
}
