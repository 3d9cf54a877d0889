//! The pages of numbers that several workers say, as one, in the text format of Prometheus (0.0.4): each family once, each line with whose it is. Pure.
//!
//! A page that is not what our library writes is not taken at all: one strange worker does not spoil what all others say.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The metric that says who answered. No worker may say it of itself.
const UP: &str = "sockeye_worker_up";

/// What the names of the edge's own metrics begin with. No worker has such.
const EDGE: &str = "sockeye_edge_";

/// What a worker said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whose it is.
    pub app: String,
    /// Its number.
    pub worker: u32,
    /// Its page, if it answered.
    pub page: Option<String>,
}

/// What is known of a family: its own lines, and those of all workers.
struct Family<'a> {
    name: &'a str,
    help: Option<&'a str>,
    kind: &'a str,
    lines: String,
}

/// Makes one page; nothing where there are no workers.
#[must_use]
pub fn merge(said: &[Said]) -> String {
    let mut out = String::new();
    if said.is_empty() {
        return out;
    }
    let mut families: Vec<Family<'_>> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    out.push_str("# HELP sockeye_worker_up 1 where a worker said its numbers, 0 where it did not\n");
    out.push_str("# TYPE sockeye_worker_up gauge\n");
    for one in said {
        let app = escape(&one.app);
        let whose = format!("app=\"{app}\",worker=\"{}\"", one.worker);
        let page = one.page.as_deref().and_then(read);
        let _ = writeln!(out, "{UP}{{{whose}}} {}", u8::from(page.is_some()));
        for read in page.unwrap_or_default() {
            let at = *known.entry(read.name).or_insert(families.len());
            if at == families.len() {
                families.push(Family {
                    name: read.name,
                    help: read.help,
                    kind: read.kind,
                    lines: String::new(),
                });
            }
            for (labels, value) in read.samples {
                let comma = if labels.is_empty() { "" } else { "," };
                let _ = writeln!(families[at].lines, "{}{{{whose}{comma}{labels}}} {value}", read.name);
            }
        }
    }
    for Family { name, help, kind, lines } in families {
        if let Some(help) = help {
            let _ = writeln!(out, "# HELP {name} {help}");
        }
        let _ = writeln!(out, "# TYPE {name} {kind}");
        out.push_str(&lines);
    }
    out
}

/// A family on one page.
struct Read<'a> {
    name: &'a str,
    help: Option<&'a str>,
    kind: &'a str,
    /// Labels, as they are written, and values.
    samples: Vec<(&'a str, &'a str)>,
}

/// Reads a page; `None` where it is not one that our library writes: gauges and counters, each family in one piece behind its type.
fn read(page: &str) -> Option<Vec<Read<'_>>> {
    let mut families: Vec<Read<'_>> = Vec::new();
    let mut help = None;
    for line in page.lines() {
        if let Some(told) = line.strip_prefix("# HELP ") {
            help = Some(told.split_once(' ')?);
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ')?;
            let taken = name == UP || name.starts_with(EDGE) || families.iter().any(|one| one.name == name);
            if taken || !is_name(name) || !matches!(kind, "gauge" | "counter") {
                return None;
            }
            let help = help.take().filter(|(of, _)| *of == name).map(|(_, text)| text);
            families.push(Read { name, help, kind, samples: Vec::new() });
        } else {
            let family = families.last_mut()?;
            family.samples.push(sample(line.strip_prefix(family.name)?)?);
        }
    }
    (!families.is_empty()).then_some(families)
}

/// What follows a name: `{labels} value` or ` value`.
fn sample(rest: &str) -> Option<(&str, &str)> {
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => {
            let end = labels_end(rest)?;
            (&rest[..end], &rest[end + 1..])
        }
        None => ("", rest),
    };
    let value = value.strip_prefix(' ')?;
    value.parse::<f64>().ok().map(|_| (labels, value))
}

/// Where the labels end: at the `}` after the last of them. None may be called as those that are added here.
fn labels_end(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let (name, quoted) = text[at..].split_once("=\"")?;
        if !is_name(name) || name == "app" || name == "worker" {
            return None;
        }
        at = text.len() - quoted.len();
        let mut escaped = false;
        let end = quoted.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        at += end + 1;
        match text.as_bytes().get(at)? {
            b',' => at += 1,
            b'}' => return Some(at),
            _ => return None,
        }
    }
}

fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(is_letter)
        && name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(app: &str, worker: u32, page: Option<&str>) -> Said {
        Said { app: app.to_owned(), worker, page: page.map(str::to_owned) }
    }

    #[test]
    fn families_come_once_and_lines_tell_whose_they_are() {
        let first = "# HELP s Sessions.\n# TYPE s gauge\ns 3\n# TYPE t counter\nt{n=\"/a\\\"}\\\\\",r=\"x y\"} 1\nt{n=\"/b\"} 2\n";
        let second = "# HELP u Only here.\n# TYPE u gauge\n# HELP s Sessions.\n# TYPE s gauge\ns 4\n";
        let merged =
            merge(&[said("chat", 0, Some(first)), said("chat", 1, None), said("s\"h\\op", 0, Some(second))]);
        let expected = [
            "# HELP sockeye_worker_up 1 where a worker said its numbers, 0 where it did not",
            "# TYPE sockeye_worker_up gauge",
            "sockeye_worker_up{app=\"chat\",worker=\"0\"} 1",
            "sockeye_worker_up{app=\"chat\",worker=\"1\"} 0",
            "sockeye_worker_up{app=\"s\\\"h\\\\op\",worker=\"0\"} 1",
            "# HELP s Sessions.",
            "# TYPE s gauge",
            "s{app=\"chat\",worker=\"0\"} 3",
            "s{app=\"s\\\"h\\\\op\",worker=\"0\"} 4",
            "# TYPE t counter",
            "t{app=\"chat\",worker=\"0\",n=\"/a\\\"}\\\\\",r=\"x y\"} 1",
            "t{app=\"chat\",worker=\"0\",n=\"/b\"} 2",
            "# HELP u Only here.",
            "# TYPE u gauge",
            "",
        ];
        assert_eq!(merged, expected.join("\n"));
        assert_eq!(merge(&[]), "");
    }

    #[test]
    fn a_strange_page_is_no_answer() {
        for page in [
            "",
            "s 3\n",
            "# TYPE s gauge\ns\n",
            "# TYPE s gauge\ns three\n",
            "# TYPE s gauge\ns{ 3\n",
            "# TYPE s gauge\ns{} 3\n",
            "# TYPE s gauge\ns{n=\"a} 3\n",
            "# TYPE s gauge\ns{n=\"a\\\"} 3\n",
            "# TYPE s gauge\ns{n=\"a\"m=\"b\"} 3\n",
            "# TYPE s gauge\ns{n=\"é\"é} 3\n",
            "# TYPE s gauge\ns{worker=\"9\"} 3\n",
            "# TYPE s gauge\nt 3\n",
            "# TYPE s gauge\nst 3\n",
            "# TYPE s gauge\n\ns 3\n",
            "# TYPE s nonsense\ns 3\n",
            "# TYPE s-s gauge\n",
            "# TYPE s gauge\ns 1\n# TYPE s gauge\ns 1\n",
            "# TYPE sockeye_worker_up gauge\nsockeye_worker_up 1\n",
            "# TYPE sockeye_edge_sessions gauge\nsockeye_edge_sessions 1\n",
            "<html>no</html>",
        ] {
            let merged = merge(&[said("a", 0, Some(page)), said("a", 1, Some("# TYPE s gauge\ns 3\n"))]);
            assert!(merged.contains("up{app=\"a\",worker=\"0\"} 0\n"), "{page:?} in {merged}");
            assert!(
                merged.ends_with("worker=\"1\"} 1\n# TYPE s gauge\ns{app=\"a\",worker=\"1\"} 3\n"),
                "{merged}"
            );
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let page = "# HELP s é.\n# TYPE s gauge\ns{n=\"é\\\\\",m=\"\"} 3\ns 4\n";
        for at in 0..page.len() {
            for byte in [0, b' ', b'"', b'\\', b'{', b'}', b'=', b'\n', 0xc3, 0xff] {
                let mut bytes = page.as_bytes().to_vec();
                bytes[at] = byte;
                let changed = String::from_utf8_lossy(&bytes);
                let _page = merge(&[
                    said("a", 0, Some(&changed)),
                    said("a", 1, Some(&changed[..changed.floor_char_boundary(at)])),
                ]);
            }
        }
    }
}
