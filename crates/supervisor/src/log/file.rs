//! One log file: what is written to it, and when it is put away. It is put away between two lines, by renaming: whoever reads it meanwhile loses nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::past::{self, past};
use crate::spec::LogSpec;

/// How much waits for the next write while more lines are at hand.
const BUFFER_BYTES: usize = 64 << 10;

/// What a buffer keeps while nothing waits.
const IDLE_BYTES: usize = 4 << 10;

/// An open log file.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// A device or a pipe (`/dev/null`, `/dev/stdout`) is written to, and nothing else: it has no size, no past, and is never moved.
    is_regular: bool,
    size: u64,
    begun: SystemTime,
    size_max: u64,
    age_max: Duration,
    buffer: Vec<u8>,
    /// Lines in the buffer.
    waiting: u64,
    lost: u64,
}

impl LogFile {
    pub(super) fn open(path: PathBuf, spec: &LogSpec, now: SystemTime) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = begin(&path)?;
        let metadata = file.metadata()?;
        let begun = if metadata.len() == 0 { now } else { metadata.created().unwrap_or(now) };
        Ok(Self {
            is_regular: metadata.is_file(),
            size: metadata.len(),
            path,
            file,
            begun,
            size_max: spec.max_size.bytes(),
            age_max: spec.max_age.duration(),
            buffer: Vec::new(),
            waiting: 0,
            lost: 0,
        })
    }

    /// Where the next line is written, with its end; then [`Self::handle_line`].
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// A line is in the buffer; without `more` it is not to wait there. Whether a file was put away.
    pub(super) fn handle_line(&mut self, more: bool, now: SystemTime) -> io::Result<bool> {
        self.waiting += 1;
        if more && self.buffer.len() < BUFFER_BYTES {
            return Ok(false);
        }
        let is_due = self.is_due(now);
        // A file that cannot be put away is written on: no line is lost for that.
        let rotated = is_due && self.rotate(now).is_ok();
        let written = self.file.write_all(&self.buffer);
        self.size += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(IDLE_BYTES);
        let waiting = std::mem::take(&mut self.waiting);
        if let Err(error) = written {
            self.lost += waiting;
            return Err(error);
        }
        Ok(rotated)
    }

    /// Empties it, and forgets what was put away.
    pub(super) fn empty(&mut self) -> io::Result<()> {
        if !self.is_regular {
            return Ok(());
        }
        for old in past(&self.path) {
            fs::remove_file(old)?;
        }
        self.file.set_len(0)?;
        self.size = 0;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many lines could not be written.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    fn is_due(&self, now: SystemTime) -> bool {
        let is_full = self.size + self.buffer.len() as u64 > self.size_max;
        let is_old = now.duration_since(self.begun).is_ok_and(|age| age >= self.age_max);
        self.is_regular && self.size > 0 && (is_full || is_old)
    }

    fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        let away = past::name(&self.path, now);
        fs::rename(&self.path, &away)?;
        match begin(&self.path) {
            Ok(file) => {
                (self.file, self.size, self.begun) = (file, 0, now);
                Ok(())
            }
            Err(error) => {
                // The open file goes on under its old name.
                fs::rename(&away, &self.path)?;
                Err(error)
            }
        }
    }
}

/// Empties a file that is not open, and forgets what was put away of it. One that is not there is empty.
pub(super) fn empty(path: &Path) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(());
    }
    for old in past(path) {
        fs::remove_file(old)?;
    }
    match OpenOptions::new().write(true).truncate(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn begin(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
