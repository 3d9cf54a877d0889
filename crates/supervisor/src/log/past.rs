//! Log files that were put away: their names, compressing them, and how many are kept.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::SystemTime;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tracing::warn;

use crate::clock::Civil;
use crate::spec::LogSpec;

/// How many requests to tidy up may wait; one more is left to the next rotation, which does it too.
const REQUESTS_MAX: usize = 16;

/// The thread that compresses and forgets old files; it ends with this value.
#[derive(Debug)]
pub(super) struct Compressor {
    requests: SyncSender<(PathBuf, bool, usize)>,
}

impl Compressor {
    pub(super) fn start() -> io::Result<Self> {
        let (requests, orders) = mpsc::sync_channel::<(PathBuf, bool, usize)>(REQUESTS_MAX);
        thread::Builder::new().name("sockeye-gzip".to_owned()).spawn(move || {
            for (path, compress, keep) in orders {
                if let Err(error) = tidy(&path, compress, keep) {
                    warn!(path = %path.display(), %error, "old log files cannot be tidied up");
                }
            }
        })?;
        Ok(Self { requests })
    }

    /// Looks after the old files of a log file, soon.
    pub(super) fn tidy(&self, path: &Path, spec: &LogSpec) {
        let _ = self.requests.try_send((path.to_owned(), spec.compress, spec.keep as usize));
    }
}

/// What was put away of a log file, the oldest first.
#[must_use]
pub fn past(path: &Path) -> Vec<PathBuf> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let prefix = format!("{name}.");
    let is_past = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let stamp = name.and_then(|name| name.strip_prefix(&prefix));
        stamp.is_some_and(|stamp| {
            let stamp = stamp.strip_suffix(".gz").unwrap_or(stamp);
            stamp.len() == STAMP_BYTES && stamp.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
        })
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut past: Vec<_> = entries.map(|entry| entry.path()).filter(is_past).collect();
    past.sort();
    past
}

/// The last lines that were put away of a log file, the oldest first. What cannot be read is passed over.
#[must_use]
pub fn past_lines(path: &Path, lines: usize) -> Vec<String> {
    let mut wanted = VecDeque::new();
    let old = past(path);
    for (index, path) in old.iter().enumerate().rev() {
        // While it is compressed a file is there twice.
        let is_twice = index > 0 && compressed(&old[index - 1]) == *path;
        if wanted.len() == lines {
            break;
        }
        if !is_twice {
            for line in lines_of(path, lines - wanted.len()).into_iter().rev() {
                wanted.push_front(line);
            }
        }
    }
    wanted.into()
}

/// The last lines of a file that was put away, be it compressed by now or not yet.
fn lines_of(path: &Path, lines: usize) -> VecDeque<String> {
    let opened = File::open(path).map(|file| (file, is_compressed(path)));
    let Ok((file, packed)) = opened.or_else(|_| File::open(compressed(path)).map(|file| (file, true))) else {
        return VecDeque::new();
    };
    let mut reader: Box<dyn BufRead> = match packed {
        true => Box::new(BufReader::new(GzDecoder::new(file))),
        false => Box::new(BufReader::new(file)),
    };
    let (mut last, mut line) = (VecDeque::new(), Vec::new());
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        if last.len() == lines {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned());
        line.clear();
    }
    last
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

/// `20261130-070000123-00`
const STAMP_BYTES: usize = 21;

/// A free name for a file that is put away. It sorts behind all that were put away before, whatever the clock says.
pub(super) fn name(path: &Path, now: SystemTime) -> PathBuf {
    let Civil { year, month, day, hour, minute, second, millisecond, weekday: _ } = Civil::of(now);
    let stamp = format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}{millisecond:03}-00");
    let last = past(path).pop().and_then(|last| {
        let name = last.file_name()?.to_str()?.trim_end_matches(".gz").to_owned();
        Some(name[name.len() - STAMP_BYTES..].to_owned())
    });
    let stamp = match last {
        Some(last) if last >= stamp => after(&last),
        Some(_) | None => stamp,
    };
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(stamp);
    name.into()
}

/// The next stamp: its digits as one number, and one more.
fn after(stamp: &str) -> String {
    let digits: String = stamp.chars().filter(char::is_ascii_digit).collect();
    let next = digits.parse::<u128>().unwrap_or_default() + 1;
    let digits = format!("{next:019}");
    format!("{}-{}-{}", &digits[..8], &digits[8..17], &digits[17..])
}

fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

fn tidy(path: &Path, compress: bool, keep: usize) -> io::Result<()> {
    let old = past(path);
    let (gone, kept) = old.split_at(old.len().saturating_sub(keep));
    for path in gone {
        fs::remove_file(path)?;
    }
    for path in kept.iter().filter(|path| compress && !is_compressed(path)) {
        pack(path)?;
    }
    Ok(())
}

/// Compresses a file under a name of the making, so that a half-made one is never taken for a whole one.
fn pack(path: &Path) -> io::Result<()> {
    let packed = compressed(path);
    let mut making = packed.as_os_str().to_owned();
    making.push(".part");
    let mut plain = File::open(path)?;
    let file = File::create(&making)?;
    // Whoever may not read the one may not read the other.
    file.set_permissions(plain.metadata()?.permissions())?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    io::copy(&mut plain, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&making, &packed)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_followed_by_a_greater_one() {
        assert_eq!(after("20261130-070000123-00"), "20261130-070000123-01");
        assert_eq!(after("20261130-070000123-99"), "20261130-070000124-00");
        assert_eq!(after("20261130-235959999-99"), "20261130-235960000-00");
    }
}
