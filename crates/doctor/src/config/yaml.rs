//! Traefik, Docker Compose, Kubernetes and CloudFormation: keys by their indentation, and what is wrong in them.
//!
//! Reads the YAML that people write for these: nested keys, lists, plain and quoted values, blocks of text. It is no YAML parser.

use crate::report::Finding;
use crate::rule;

pub(super) fn examine(text: &str) -> Vec<Finding> {
    let mut entries = read(text);
    labels(&mut entries);
    let mut findings = Vec::new();
    traefik(&entries, &mut findings);
    ingress(&entries, &mut findings);
    for entry in &entries {
        let key = entry.key();
        if PORTS.contains(&key) && entry.value == "1111" {
            findings.push(Finding::at(rule::SAILS_PORT, entry.line, format!("{key}: 1111")));
        }
    }
    findings
}

fn traefik(entries: &[Entry], findings: &mut Vec<Finding>) {
    for entry in entries {
        if let [.., service, "rule"] = entry.parts()[..]
            && entry.is_below("http.services.")
            && entry.parts().len() <= 4 + usize::from(entry.is_below("traefik."))
        {
            let seen = format!("`rule` stands under the service {service}");
            findings.push(Finding::at(rule::TRAEFIK_RULE, entry.line, seen));
        }
    }
    let mut seen_services: Vec<String> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.is_below("http.services.")) {
        let lower = entry.path.to_ascii_lowercase();
        let Some((service, _)) = lower.split_once(".loadbalancer") else { continue };
        if seen_services.iter().any(|known| known == service) {
            continue;
        }
        seen_services.push(service.to_owned());
        let below: Vec<&Entry> =
            entries.iter().filter(|other| other.path.to_ascii_lowercase().starts_with(service)).collect();
        let of = |end: &str| {
            below
                .iter()
                .find(|other| other.path.to_ascii_lowercase().ends_with(end))
                .map(|other| other.value.as_str())
        };
        let sticky = below.iter().find(|other| other.path.to_ascii_lowercase().contains(".sticky.cookie"));
        let servers = below.iter().filter(|other| other.key() == "url").count();
        match sticky {
            Some(cookie) => {
                let secure = of(".cookie.secure").is_some_and(|value| value == "true");
                let same_site =
                    of(".cookie.samesite").is_some_and(|value| value.eq_ignore_ascii_case("none"));
                if !secure || !same_site {
                    let seen = "the cookie of sticky is not both `secure: true` and `sameSite: none`";
                    findings.push(Finding::at(rule::TRAEFIK_COOKIE, cookie.line, seen));
                }
            }
            None if servers > 1 => {
                let seen = format!("a service with {servers} servers and without `sticky`");
                findings.push(Finding::at(rule::TRAEFIK_NO_AFFINITY, entry.line, seen));
            }
            None => {}
        }
    }
}

fn ingress(entries: &[Entry], findings: &mut Vec<Finding>) {
    for entry in entries {
        if entry.path.ends_with("nginx.ingress.kubernetes.io/configuration-snippet") {
            findings.push(Finding::at(
                rule::INGRESS_SNIPPET,
                entry.line,
                "the annotation configuration-snippet",
            ));
            if entry.value.contains("$http_x_forwarded_for") {
                let seen = "the snippet takes its address from $http_x_forwarded_for";
                findings.push(Finding::at(rule::INGRESS_FIRST_ADDRESS, entry.line, seen));
            }
        }
        if entry.path.ends_with("nginx.ingress.kubernetes.io/upstream-hash-by")
            && entry.value.contains("$http_x_forwarded_for")
        {
            let seen = format!("upstream-hash-by: {}", entry.value);
            findings.push(Finding::at(rule::INGRESS_FIRST_ADDRESS, entry.line, seen));
        }
    }
}

/// One key with the keys above it, joined by dots, and its value.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    value: String,
    line: usize,
}

impl Entry {
    fn parts(&self) -> Vec<&str> {
        self.path.split('.').collect()
    }

    fn key(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is below a key of Traefik, in a file or in a label.
    fn is_below(&self, prefix: &str) -> bool {
        self.path.strip_prefix("traefik.").unwrap_or(&self.path).starts_with(prefix)
    }
}

/// Labels of containers, `traefik.http.…=value`, become keys of their own.
fn labels(entries: &mut [Entry]) {
    for entry in entries {
        if let Some(at) = entry.value.find("traefik.").filter(|at| *at == 0)
            && let Some((key, value)) = entry.value[at..].split_once('=')
        {
            (entry.path, entry.value) = (key.to_owned(), unquoted(value).to_owned());
        } else if let Some((_, key)) = entry.path.split_once("labels.")
            && key.starts_with("traefik.")
        {
            entry.path = key.to_owned();
        }
    }
}

fn read(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    // The entry whose value is the block of deeper lines that follows.
    let mut block: Option<(usize, usize)> = None;
    for (index, whole) in text.lines().enumerate() {
        let indent = whole.len() - whole.trim_start().len();
        let line = whole.trim();
        if line.is_empty() {
            continue;
        }
        if let Some((depth, at)) = block {
            if indent > depth {
                entries[at].value.push_str(line);
                entries[at].value.push('\n');
                continue;
            }
            block = None;
        }
        if line.starts_with('#') || line == "---" {
            continue;
        }
        // `- key: value` is a list's item, and its key stands where the dash does.
        let item = line.strip_prefix("- ").map(str::trim_start);
        let depth = indent + if item.is_some() { line.len() - item.map_or(0, str::len) } else { 0 };
        above.retain(|(deep, _)| *deep < indent + usize::from(item.is_some()));
        let text = item.unwrap_or(line);
        let join = |key: &str| {
            let keys: Vec<&str> = above.iter().map(|(_, key)| key.as_str()).chain([key]).collect();
            keys.join(".")
        };
        match pair(text) {
            Some((key, value)) => {
                let path = join(key);
                above.push((depth, key.to_owned()));
                let is_block = matches!(value, "|" | ">" | "|-" | ">-" | "|+");
                if is_block {
                    block = Some((indent, entries.len()));
                }
                let value = if is_block { String::new() } else { unquoted(value).to_owned() };
                entries.push(Entry { path, value, line: index + 1 });
            }
            None => {
                entries.push(Entry { path: join("-"), value: unquoted(text).to_owned(), line: index + 1 })
            }
        }
    }
    entries
}

/// `key: value`, `key:`; a quoted text is none, unless its quotes end before a colon.
fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (key, rest) = text[1..].split_once(quote)?;
            (key, rest.strip_prefix(':')?)
        }
        _ => match text.split_once(": ") {
            Some(pair) => pair,
            None => (text.strip_suffix(':')?, ""),
        },
    };
    let value = value.split(" #").next().unwrap_or_default();
    Some((key.trim(), value.trim()))
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

/// Keys of CloudFormation and `.ebextensions` that hold a port.
const PORTS: [&str; 4] = ["FromPort", "ToPort", "InstancePort", "Port"];
