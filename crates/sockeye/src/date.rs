//! The `date` header: RFC 9110 §6.6.1. Written once a second by each thread.

use std::cell::RefCell;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

thread_local! {
    static LINE: RefCell<Line> = const { RefCell::new(Line { until: SystemTime::UNIX_EPOCH, text: Vec::new() }) };
}

struct Line {
    /// The second is over.
    until: SystemTime,
    text: Vec<u8>,
}

/// Appends `date: …` with its line's end.
pub(crate) fn append_line(out: &mut Vec<u8>) {
    LINE.with_borrow_mut(|line| {
        let now = SystemTime::now();
        // Also when the clock was set back.
        if now >= line.until || line.until.duration_since(now).is_ok_and(|ahead| ahead > SECOND) {
            line.text.clear();
            // Into memory, so it cannot fail.
            drop(write!(line.text, "date: {}\r\n", httpdate::HttpDate::from(now)));
            let past = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            line.until = now + (SECOND - Duration::from_nanos(past.subsec_nanos().into()));
        }
        out.extend_from_slice(&line.text);
    });
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_wants_it() {
        let mut out = Vec::new();
        append_line(&mut out);
        let text = String::from_utf8(out).unwrap();
        let date = text.strip_prefix("date: ").and_then(|text| text.strip_suffix("\r\n")).unwrap();
        let age = SystemTime::now().duration_since(httpdate::parse_http_date(date).unwrap()).unwrap();
        assert!(age < Duration::from_secs(5), "{date}");
    }
}
