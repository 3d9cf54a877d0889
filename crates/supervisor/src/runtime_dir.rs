//! The directory where a parent and its workers meet: made for one run, private, and removed after it.
//!
//! A file `lock` in it is locked while the parent lives; the kernel lets go of it when the parent dies, however that
//! happens. So whoever comes next can tell the living from the dead, and sweeps up after the dead.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, geteuid, test_kill_process};
use tracing::{debug, info};

/// The directory of one run. Dropping it removes it.
#[derive(Debug)]
pub struct RuntimeDir {
    path: PathBuf,
    /// Held, and with it the lock, until the directory is gone.
    _lock: File,
}

const PREFIX: &str = "sockeye-";
const LOCK: &str = "lock";

/// A Unix socket's path holds at most this many bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The longest name below the base: `/sockeye-4194304-0123456789abcdef/mesh/abcdef.sock`.
const TAIL_BYTES_MAX: usize = 52;

/// How often to try a new name if a sweeper takes ours for dead before it is locked.
const ATTEMPTS_MAX: u32 = 16;

impl RuntimeDir {
    /// Makes one in `$XDG_RUNTIME_DIR`, or in `/tmp` if that is unset, unusable or too long; sweeps there first.
    ///
    /// # Errors
    /// When a directory can be made in neither.
    pub fn create() -> io::Result<Self> {
        let preferred =
            std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|base| base.is_absolute());
        if let Some(base) = preferred {
            match Self::create_in(&base) {
                Ok(directory) => return Ok(directory),
                Err(error) => debug!(base = %base.display(), %error, "not usable for sockets, trying /tmp"),
            }
        }
        Self::create_in(Path::new("/tmp"))
    }

    /// Makes one in a directory of choice; sweeps there first.
    ///
    /// # Errors
    /// When the base is too long for socket paths, or not ours to write.
    pub fn create_in(base: &Path) -> io::Result<Self> {
        if base.as_os_str().len() + TAIL_BYTES_MAX > SOCKET_PATH_BYTES_MAX {
            let longest = SOCKET_PATH_BYTES_MAX - TAIL_BYTES_MAX;
            let expected = format!("expected a path of at most {longest} bytes, got {}", base.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, expected));
        }
        sweep(base);
        for _ in 0..ATTEMPTS_MAX {
            if let Some(directory) = Self::try_create_in(base)? {
                return Ok(directory);
            }
        }
        Err(io::Error::other("every directory made was taken away before it could be locked"))
    }

    fn try_create_in(base: &Path) -> io::Result<Option<Self>> {
        let name =
            format!("{PREFIX}{}-{:016x}", std::process::id(), getrandom::u64().map_err(io::Error::other)?);
        let path = base.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join(LOCK))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
            || !is_still(&lock, &path.join(LOCK))
        {
            return Ok(None);
        }
        DirBuilder::new().mode(0o700).create(path.join("mesh"))?;
        DirBuilder::new().mode(0o700).create(path.join("http"))?;
        Ok(Some(Self { path, _lock: lock }))
    }

    /// Removes it before its time; what is dropped later finds nothing to do.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where workers report.
    #[must_use]
    pub fn link(&self) -> PathBuf {
        self.path.join("link.sock")
    }

    /// Where workers without descriptors report.
    #[must_use]
    pub fn plain(&self) -> PathBuf {
        self.path.join("plain.sock")
    }

    /// Where a worker may say `READY=1`.
    #[must_use]
    pub fn notify(&self, instance: u32) -> PathBuf {
        self.path.join(format!("n{instance}.sock"))
    }

    /// Where the sockets for relayed requests lie.
    #[must_use]
    pub fn http_dir(&self) -> PathBuf {
        self.path.join("http")
    }

    /// Where one listen of a process on the plain link takes relayed requests.
    #[must_use]
    pub fn listen(&self, tag: &str, id: u32) -> PathBuf {
        match id {
            1 => self.http(tag),
            _ => self.http_dir().join(format!("{tag}-{id}.sock")),
        }
    }

    /// Where nodes meet.
    #[must_use]
    pub fn mesh(&self) -> PathBuf {
        self.path.join("mesh")
    }

    /// Where the node with a tag takes relayed requests.
    #[must_use]
    pub fn http(&self, tag: &str) -> PathBuf {
        self.path.join("http").join(format!("{tag}.sock"))
    }

    /// Removes what a dead node left.
    pub(crate) fn forget(&self, tag: &str) {
        let _ = fs::remove_file(self.http(tag));
        for file in ["sock", "board"] {
            let _ = fs::remove_file(self.mesh().join(format!("{tag}.{file}")));
        }
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            debug!(path = %self.path.display(), %error, "the runtime directory is left behind");
        }
    }
}

/// Removes the directories of dead parents; whatever cannot be told or removed is left.
fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(pid) = entry.file_name().to_str().and_then(pid_of) else { continue };
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
            continue;
        }
        let Some(_claim) = claim(&path, pid) else { continue };
        if fs::remove_dir_all(&path).is_ok() {
            info!(path = %path.display(), "removed what a dead parent left");
        }
    }
}

/// Holds the directory if nobody else does. Without a lock file it may be in the making: then its parent's life decides.
fn claim(path: &Path, pid: Pid) -> Option<Option<File>> {
    match File::open(path.join(LOCK)) {
        Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (test_kill_process(pid) == Err(rustix::io::Errno::SRCH)).then_some(None)
        }
        Err(_) => None,
    }
}

/// Whether the open file is what lies at the path.
fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(held), Ok(found)) => (held.dev(), held.ino()) == (found.dev(), found.ino()),
        (Ok(_) | Err(_), _) => false,
    }
}

/// The parent that a directory's name speaks of.
fn pid_of(name: &str) -> Option<Pid> {
    let (pid, random) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let is_random = random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pid = pid.parse().ok().and_then(Pid::from_raw)?;
    is_random.then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_private_has_its_rooms_and_leaves_nothing() {
        let base = tempfile::tempdir().unwrap();
        let directory = RuntimeDir::create_in(base.path()).unwrap();
        let mode = fs::metadata(directory.path()).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o700);
        for path in [directory.link(), directory.http("abcdef"), directory.mesh().join("abcdef.sock")] {
            let socket = std::os::unix::net::UnixListener::bind(path);
            assert!(socket.is_ok());
        }
        drop(directory);
        assert_eq!(names(base.path()), [""; 0]);
    }

    #[test]
    fn two_of_one_process_live_side_by_side() {
        let base = tempfile::tempdir().unwrap();
        let first = RuntimeDir::create_in(base.path()).unwrap();
        let second = RuntimeDir::create_in(base.path()).unwrap();
        assert_ne!(first.path(), second.path());
        assert_eq!(names(base.path()).len(), 2);
        first.remove().unwrap();
        first.remove().unwrap();
        drop(first);
        assert_eq!(names(base.path()).len(), 1);
    }

    #[test]
    fn what_a_dead_parent_left_is_swept_and_nothing_else() {
        let base = tempfile::tempdir().unwrap();
        let alive = std::process::id();
        // A dead parent's lock is free, whoever has its pid now; a directory in the making has no lock yet.
        let dead =
            [format!("sockeye-{alive}-0123456789abcdef"), "sockeye-2147483647-0123456789abcdef".to_owned()];
        let kept = [
            format!("sockeye-{alive}-0000000000000000"),
            "sockeye-1".to_owned(),
            "sockeye-x-0123456789abcdef".to_owned(),
            "sockeye-1-0123456789abcdef0".to_owned(),
            "other".to_owned(),
        ];
        for name in dead.iter().chain(&kept) {
            fs::create_dir(base.path().join(name)).unwrap();
        }
        fs::write(base.path().join(&dead[0]).join(LOCK), "").unwrap();
        let directory = RuntimeDir::create_in(base.path()).unwrap();
        let mut expected: Vec<_> = kept.to_vec();
        expected.push(directory.path().file_name().unwrap().to_str().unwrap().to_owned());
        expected.sort();
        assert_eq!(names(base.path()), expected);
    }

    #[test]
    fn a_base_too_long_for_sockets_is_refused_with_the_limit() {
        let base = format!("/tmp/{}", "x".repeat(51));
        let error = RuntimeDir::create_in(Path::new(&base)).unwrap_err();
        assert_eq!(error.to_string(), format!("expected a path of at most 55 bytes, got {base}"));
    }

    fn names(base: &Path) -> Vec<String> {
        let entries = fs::read_dir(base).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
