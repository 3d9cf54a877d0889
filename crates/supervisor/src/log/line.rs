//! How a line reads in a file. Pure.

use std::io::Write;
use std::time::SystemTime;

use crate::clock::Civil;
use crate::lines::{Line, Stream};
use crate::spec::LogSpec;

/// Writes a line with its end, plain, with its time, or as JSON.
pub(super) fn render(line: &Line<'_>, app: &str, spec: &LogSpec, now: SystemTime, to: &mut Vec<u8>) {
    if spec.json {
        let stream = match line.stream {
            Stream::Out => "out",
            Stream::Error => "error",
        };
        let object = serde_json::json!({
            "time": Civil::of(now).to_string(), "app": app, "instance": line.place, "stream": stream, "line": line.text,
        });
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *to, &object);
    } else {
        if spec.time {
            let _ = write!(to, "{} ", Civil::of(now));
        }
        to.extend_from_slice(line.text.as_bytes());
    }
    to.push(b'\n');
}
