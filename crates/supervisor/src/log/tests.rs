//! Log files in a directory of their own: what is written can be read, whatever was put away meanwhile.

use super::*;
use crate::spec::{Size, Span};
use flate2::read::GzDecoder;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

#[test]
fn every_line_is_there_once_through_many_rotations() {
    let directory = tempfile::tempdir().unwrap();
    let spec = LogSpec { max_size: Size::from_bytes(10_000), keep: 1000, ..LogSpec::default() };
    let logs = Logs::open("app", spec, directory.path().to_owned()).unwrap();
    for number in 0..20_000 {
        say(&logs, &format!("line {number}"), number % 10 != 9);
    }
    let path = logs.path(0, Stream::Out);
    let text = whole(&path, None);
    let expected: String = (0..20_000).map(|number| format!("line {number}\n")).collect();
    assert!(text == expected, "{} bytes of {}", text.len(), expected.len());
}

#[test]
fn a_file_is_put_away_when_it_is_old_and_only_so_many_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let spec = LogSpec { max_age: Span::from_millis(0), keep: 2, ..LogSpec::default() };
    let logs = Logs::open("app", spec, directory.path().to_owned()).unwrap();
    for number in 0..20 {
        say(&logs, &number.to_string(), false);
        // The thread is let catch up: it is asked at each rotation.
        let path = logs.path(0, Stream::Out);
        while past(&path).len() > 2 {
            std::thread::yield_now();
        }
    }
    let path = logs.path(0, Stream::Out);
    assert_eq!(fs::read_to_string(&path).unwrap(), "19\n");
    assert_eq!(whole(&path, Some(2)), "17\n18\n19\n");
}

#[test]
fn what_is_put_away_is_as_private_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let spec = LogSpec { max_age: Span::from_millis(0), ..LogSpec::default() };
    let logs = Logs::open("app", spec, directory.path().to_owned()).unwrap();
    let path = logs.path(0, Stream::Out);
    let packed = || past(&path).into_iter().find(|old| old.extension().is_some_and(|ending| ending == "gz"));
    let old = loop {
        say(&logs, "a secret", false);
        if let Some(old) = packed() {
            break old;
        }
        std::thread::yield_now();
    };
    assert_eq!(fs::metadata(old).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_last_lines_are_found_in_what_was_put_away() {
    let directory = tempfile::tempdir().unwrap();
    let spec = LogSpec { max_size: Size::from_bytes(100), keep: 1000, ..LogSpec::default() };
    let logs = Logs::open("app", spec, directory.path().to_owned()).unwrap();
    for number in 0..100 {
        say(&logs, &format!("line {number}"), false);
    }
    let path = logs.path(0, Stream::Out);
    let standing = fs::read_to_string(&path).unwrap().lines().count();
    // Whether they are compressed by now, are being, or not yet.
    for wanted in [0, 1, 30, 1000] {
        let first = (100 - standing).saturating_sub(wanted);
        let expected: Vec<_> = (first..100 - standing).map(|number| format!("line {number}")).collect();
        assert_eq!(past_lines(&path, wanted), expected);
    }
    drop(whole(&path, None));
    assert_eq!(past_lines(&path, 1000).len(), 100 - standing);
}

#[test]
fn what_is_no_regular_file_is_written_to_and_never_moved() {
    let directory = tempfile::tempdir().unwrap();
    let [pipe, link] = ["pipe", "link"].map(|name| directory.path().join(name));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    // Somebody reads it, or opening it would wait.
    let mut reader = File::options().read(true).write(true).open(&pipe).unwrap();
    let spec = LogSpec {
        out: Some(pipe),
        error: Some(link.clone()),
        max_age: Span::from_millis(0),
        max_size: Size::from_bytes(1),
        ..LogSpec::default()
    };
    let logs = Logs::open("app", spec, directory.path().to_owned()).unwrap();
    for _ in 0..3 {
        say(&logs, "line", false);
        logs.handle_line(&Line { instance: 0, place: 0, stream: Stream::Error, text: "line", more: false });
        logs.flush([0]);
    }
    let mut heard = [0; 15];
    reader.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"line\nline\nline\n");
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("/dev/null"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing was put away");
}

#[test]
fn a_file_that_cannot_be_opened_is_told_before_a_line_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    for (name, out) in [("app", Some("/proc/x.log".into())), (&*"a".repeat(300), None)] {
        let spec = LogSpec { out, ..LogSpec::default() };
        let error = Logs::open(name, spec, directory.path().to_owned()).unwrap_err().to_string();
        assert!(error.contains(".log: "), "{error}");
    }
}

#[test]
fn lines_have_their_time_or_are_json_on_demand() {
    let directory = tempfile::tempdir().unwrap();
    let spec = LogSpec { time: true, error: Some("own-INSTANCE.txt".into()), ..LogSpec::default() };
    let logs = Logs::open("a/b", spec, directory.path().to_owned()).unwrap();
    say(&logs, "hello", false);
    let text = fs::read_to_string(directory.path().join("a-b-out-0.log")).unwrap();
    assert!(text.ends_with("Z hello\n") && text.len() == 31, "{text}");
    assert_eq!(logs.path(3, Stream::Error), directory.path().join("own-3.txt"));

    let spec = LogSpec { json: true, ..LogSpec::default() };
    let logs = Logs::open("app", spec, directory.path().to_owned()).unwrap();
    say(&logs, "a \"quote\"", false);
    let text = fs::read_to_string(logs.path(0, Stream::Out)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["line"], "a \"quote\"");
    assert_eq!(
        (&value["app"], &value["instance"], &value["stream"]),
        (&"app".into(), &0.into(), &"out".into())
    );
}

#[test]
fn a_flush_leaves_an_empty_file_that_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let spec = LogSpec { max_size: Size::from_bytes(4), compress: false, ..LogSpec::default() };
    let logs = Logs::open("app", spec, directory.path().to_owned()).unwrap();
    say(&logs, "one", false);
    say(&logs, "two", false);
    let path = logs.path(0, Stream::Out);
    assert_eq!(past(&path).len(), 1);
    // Of a stream that was not written to since the start, the file is not open.
    let error = logs.path(0, Stream::Error);
    fs::write(&error, "of an earlier keeper\n").unwrap();
    logs.flush([0]);
    assert_eq!((past(&path).len(), fs::read_to_string(&path).unwrap().as_str()), (0, ""));
    assert_eq!(fs::read_to_string(&error).unwrap(), "");
    say(&logs, "three", false);
    assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    drop(logs);
    empty("app", &LogSpec::default(), directory.path(), 0..3).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    assert!(!directory.path().join("app-out-2.log").exists(), "a file that is not there stays so");
}

fn say(logs: &Logs, text: &str, more: bool) {
    logs.handle_line(&Line { instance: 0, place: 0, stream: Stream::Out, text, more });
}

/// All that was ever written and is kept, once the thread that compresses has come to rest.
fn whole(path: &Path, kept: Option<usize>) -> String {
    let is_packed = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "gz");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let old = loop {
        let old = past(path);
        if old.iter().all(is_packed) && kept.is_none_or(|kept| old.len() == kept) {
            break old;
        }
        assert!(std::time::Instant::now() < deadline, "{old:?}");
        std::thread::yield_now();
    };
    let mut text = String::new();
    for old in old {
        GzDecoder::new(File::open(&old).unwrap()).read_to_string(&mut text).unwrap();
    }
    text + &fs::read_to_string(path).unwrap()
}
