//! The files of balancers: what no client can see. Each is read as far as the rules need, and no further: it is no check of the
//! syntax, and a file that another one includes is looked at by itself.

mod apache;
mod duration;
mod haproxy;
mod javascript;
mod nginx;
mod yaml;

use crate::report::Report;

/// Reads a file: its name tells what it is, or else its text.
///
/// # Errors
/// [`Unknown`]: it is of no kind that is known.
pub fn examine(name: &str, text: &str) -> Result<Report, Unknown> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Unknown(name.to_owned()));
    }
    let kind = kind_of(name, text).ok_or_else(|| Unknown(name.to_owned()))?;
    let mut findings = match kind {
        Kind::Nginx => nginx::examine(text),
        Kind::HaProxy => haproxy::examine(text),
        Kind::Apache => apache::examine(text),
        Kind::Yaml => yaml::examine(text),
        Kind::JavaScript => javascript::examine(text),
    };
    findings.sort_by_key(|finding| finding.line);
    let lines = text.lines().count();
    Ok(Report { findings, notes: vec![format!("read as a file of {kind:?}, {lines} lines")] })
}

/// A file of no known kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a file of nginx, HAProxy, Apache, Traefik, Docker Compose, Kubernetes or JavaScript of at most 4 MiB, got {0}"
)]
pub struct Unknown(String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nginx,
    HaProxy,
    Apache,
    Yaml,
    JavaScript,
}

fn kind_of(name: &str, text: &str) -> Option<Kind> {
    let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let has = |words: &[&str]| {
        text.lines().map(str::trim_start).any(|line| words.iter().any(|word| line.starts_with(word)))
    };
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "yml" | "yaml" => return Some(Kind::Yaml),
        "js" | "mjs" | "cjs" | "ts" | "html" => return Some(Kind::JavaScript),
        "cfg" => return Some(Kind::HaProxy),
        _ => {}
    }
    for (start, kind) in [
        ("nginx", Kind::Nginx),
        ("haproxy", Kind::HaProxy),
        ("httpd", Kind::Apache),
        ("apache", Kind::Apache),
    ] {
        if name.starts_with(start) {
            return Some(kind);
        }
    }
    if has(&["<Proxy", "<VirtualHost", "LoadModule", "ProxyPass", "RewriteRule"]) {
        Some(Kind::Apache)
    } else if has(&["backend ", "frontend ", "listen chat", "defaults"]) && !text.contains('{') {
        Some(Kind::HaProxy)
    } else if has(&["upstream ", "server {", "http {", "location "]) {
        Some(Kind::Nginx)
    } else {
        None
    }
}

/// A file that people write is far shorter.
const FILE_BYTES_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests;
