//! The log files of an app: a file for each stream of each place, put away by size and by age, compressed and forgotten in time.
//!
//! A worker's line is on its way to the disk before the next one is read: a disk that is slow holds up the worker, and nothing waits in memory. Absent:
//! following a file (the command line reads it), logs of this program itself.

mod file;
mod line;
mod past;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tracing::warn;

use crate::lines::{Line, Stream};
use crate::spec::LogSpec;

use file::LogFile;
use past::Compressor;
pub use past::{past, past_lines};

/// Where the lines of one app go.
#[derive(Debug)]
pub struct Logs {
    app: String,
    spec: LogSpec,
    /// Where files lie that nobody named.
    directory: PathBuf,
    files: Mutex<Files>,
    compressor: Compressor,
}

/// By place, and whether it is standard error.
type Files = BTreeMap<(u32, bool), Arc<Mutex<LogFile>>>;

impl Logs {
    /// The log files of an app of that name; those that nobody named lie in `directory`.
    ///
    /// # Errors
    /// When the directory, or the thread that compresses, cannot be made; or a file cannot be opened: then no line could be kept.
    pub fn open(app: &str, spec: LogSpec, directory: PathBuf) -> io::Result<Self> {
        if spec.files {
            std::fs::create_dir_all(&directory)?;
            for stream in [Stream::Out, Stream::Error] {
                let path = path(app, &spec, &directory, 0, stream);
                LogFile::open(path.clone(), &spec, SystemTime::now())
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            }
        }
        let compressor = Compressor::start()?;
        Ok(Self { app: app.to_owned(), spec, directory, files: Mutex::default(), compressor })
    }

    /// Writes a line.
    pub fn handle_line(&self, line: &Line<'_>) {
        if !self.spec.files {
            return;
        }
        let Some(file) = self.file(line.place, line.stream) else { return };
        let now = SystemTime::now();
        let mut file = lock(&file);
        line::render(line, &self.app, &self.spec, now, file.buffer());
        let outcome = file.handle_line(line.more, now);
        self.note(outcome, &file);
    }

    /// Empties all files of these places, and forgets the old ones.
    pub fn flush(&self, places: impl IntoIterator<Item = u32>) {
        let files = lock(&self.files);
        let mut closed = Vec::new();
        for place in places {
            for stream in [Stream::Out, Stream::Error] {
                if !files.contains_key(&(place, stream == Stream::Error)) {
                    closed.push(self.path(place, stream));
                }
            }
        }
        let open = files.values().map(|file| lock(file).empty());
        for outcome in open.chain(closed.iter().map(|path| file::empty(path))) {
            if let Err(error) = outcome {
                warn!(%error, "a log file cannot be emptied");
            }
        }
    }

    /// The file of a stream.
    #[must_use]
    pub fn path(&self, place: u32, stream: Stream) -> PathBuf {
        path(&self.app, &self.spec, &self.directory, place, stream)
    }

    fn file(&self, place: u32, stream: Stream) -> Option<Arc<Mutex<LogFile>>> {
        let mut files = lock(&self.files);
        if let Some(file) = files.get(&(place, stream == Stream::Error)) {
            return Some(Arc::clone(file));
        }
        let path = self.path(place, stream);
        match LogFile::open(path.clone(), &self.spec, SystemTime::now()) {
            Ok(file) => {
                let file = Arc::new(Mutex::new(file));
                files.insert((place, stream == Stream::Error), Arc::clone(&file));
                Some(file)
            }
            Err(error) => {
                warn!(path = %path.display(), %error, "a log file cannot be opened: a line is lost");
                None
            }
        }
    }

    fn note(&self, outcome: io::Result<bool>, file: &LogFile) {
        match outcome {
            Ok(true) => self.compressor.tidy(file.path(), &self.spec),
            Ok(false) => {}
            Err(error) => {
                warn!(path = %file.path().display(), %error, lost = file.lost(), "lines are lost: the log file cannot be written");
            }
        }
    }
}

/// The file of a stream of an app.
#[must_use]
pub fn path(app: &str, spec: &LogSpec, directory: &std::path::Path, place: u32, stream: Stream) -> PathBuf {
    let (named, word) = match stream {
        Stream::Out => (&spec.out, "out"),
        Stream::Error => (&spec.error, "error"),
    };
    match named {
        Some(path) => directory.join(path.to_string_lossy().replace("INSTANCE", &place.to_string())),
        None => directory.join(format!("{}-{word}-{place}.log", app.replace('/', "-"))),
    }
}

/// Empties the files of an app of that name that nobody writes to, and forgets the old ones.
///
/// # Errors
/// When one cannot be emptied.
pub fn empty(
    app: &str,
    spec: &LogSpec,
    directory: &std::path::Path,
    places: impl IntoIterator<Item = u32>,
) -> io::Result<()> {
    for place in places {
        for stream in [Stream::Out, Stream::Error] {
            file::empty(&path(app, spec, directory, place, stream))?;
        }
    }
    Ok(())
}

/// Nothing under these locks panics halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
