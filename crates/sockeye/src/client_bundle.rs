//! The browser client that the server hands out below its path: the official bundle from a directory, or a small one of our own.
//!
//! Only the names that the official server knows are answered; whatever else lies in the directory is not. CORS headers are added by
//! whoever sends the response. A file is compressed when a client first asks for that, and kept.

#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use sockeye_proto::http::encoding::Encoding;
use sockeye_relay::Body;

use crate::compression::preferred;

/// The bytes of the longest file that is served; a longer one is not. The official bundle's longest, a source map, has 300 KB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Where npm puts the official bundle.
const NPM_DIR: &str = "node_modules/socket.io-client/dist";

/// The files that the official server knows (`CLIENT_FILES`).
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// Our own client, for machines without npm. What it covers stands at its beginning.
const OWN_CLIENT: &[u8] = include_bytes!("../client/socket.io.js");

/// The names under which our own client is served.
const OWN_NAMES: [&str; 2] = ["socket.io.js", "socket.io.min.js"];

/// The files to hand out. Each is read when it is first asked for, and kept: less than 2 MB together for the official ones, and half
/// as much again for the two encodings.
#[derive(Debug)]
pub(crate) struct ClientBundle {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Directory { dir: PathBuf, version: Option<String>, files: Box<[OnceLock<File>; NAMES.len()]> },
    Own(File),
}

#[derive(Debug)]
struct File {
    content: Bytes,
    etag: HeaderValue,
    gzip: OnceLock<Bytes>,
    deflate: OnceLock<Bytes>,
}

impl ClientBundle {
    /// Takes the directory it is given, else npm's below the working directory, else our own client.
    ///
    /// A directory without `socket.io.js` counts as absent; where it was asked for, that is logged.
    pub(crate) fn find(client_dir: Option<PathBuf>) -> Self {
        let asked = client_dir.is_some();
        let dir = client_dir.unwrap_or_else(|| NPM_DIR.into());
        match fs::metadata(dir.join(NAMES[0])).and_then(|_| fs::canonicalize(&dir)) {
            Ok(dir) => {
                let version = version_of(&dir);
                Self { source: Source::Directory { dir, version, files: Default::default() } }
            }
            Err(error) => {
                if asked {
                    tracing::warn!(client_dir = %dir.display(), %error, "no socket.io.js there: our own client is served");
                }
                Self { source: Source::Own(File::hashed(Bytes::from_static(OWN_CLIENT))) }
            }
        }
    }

    /// Answers a request for a file; `None`: there is no such file.
    pub(crate) fn respond(&self, file: &str, request: &HeaderMap, head_only: bool) -> Option<Response<Body>> {
        let found = self.file(file)?;
        let etag = &found.etag;
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        headers.insert(ETAG, etag.clone());
        // The official server does not say so; a shared cache may keep this answer.
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if request.get_all(IF_NONE_MATCH).iter().any(|known| names(known, etag)) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Some(response);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(file)));
        let encoding = preferred(request.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes));
        if let Some(encoding) = encoding {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
        }
        let content = found.encoded(encoding);
        headers.insert(CONTENT_LENGTH, content.len().into());
        if !head_only {
            *response.body_mut() = Body::full(content.clone());
        }
        Some(response)
    }

    fn file(&self, name: &str) -> Option<&File> {
        match &self.source {
            Source::Own(file) => OWN_NAMES.contains(&name).then_some(file),
            Source::Directory { dir, version, files } => {
                let slot = &files[NAMES.iter().position(|known| *known == name)?];
                if let Some(file) = slot.get() {
                    return Some(file);
                }
                let path = dir.join(name);
                match read(&path) {
                    Ok(content) => Some(slot.get_or_init(|| File::of(content, version.as_deref()))),
                    Err(error) => {
                        tracing::debug!(path = %path.display(), %error, "a file of the client cannot be read");
                        None
                    }
                }
            }
        }
    }
}

impl File {
    /// A file of a known version, by which the official server tells it from others.
    fn of(content: Bytes, version: Option<&str>) -> Self {
        match version.and_then(|version| HeaderValue::try_from(format!("\"{version}\"")).ok()) {
            Some(etag) => Self::new(content, etag),
            None => Self::hashed(content),
        }
    }

    /// A file that is told from others by what it holds, the same on every node.
    fn hashed(content: Bytes) -> Self {
        let etag = format!("\"{:016x}\"", fnv1a(&content));
        Self::new(content, HeaderValue::try_from(etag).expect("hexadecimal digits make a header value"))
    }

    fn new(content: Bytes, etag: HeaderValue) -> Self {
        Self { content, etag, gzip: OnceLock::new(), deflate: OnceLock::new() }
    }

    fn encoded(&self, encoding: Option<Encoding>) -> &Bytes {
        let Some(encoding) = encoding else { return &self.content };
        let slot = match encoding {
            Encoding::Gzip => &self.gzip,
            Encoding::Deflate => &self.deflate,
        };
        slot.get_or_init(|| encoding.compress(&self.content).into())
    }
}

fn read(path: &Path) -> io::Result<Bytes> {
    let mut content = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("expected at most {FILE_BYTES_MAX} bytes")));
    }
    Ok(content.into())
}

/// The version in the `package.json` beside the directory.
fn version_of(dir: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let package = read(&dir.parent()?.join("package.json")).ok()?;
    let package: Package = serde_json::from_slice(&package).ok()?;
    let plain = package.version.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    plain.then_some(package.version)
}

/// Whether a line of `If-None-Match` names the tag: weakly, as a GET asks (RFC 9110 §13.1.2).
fn names(line: &HeaderValue, etag: &HeaderValue) -> bool {
    let listed = line.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
    listed.map(|known| known.strip_prefix(b"W/").unwrap_or(known)).any(|known| known == b"*" || known == etag)
}

fn content_type(name: &str) -> &'static str {
    if name.ends_with(".map") {
        "application/json; charset=utf-8"
    } else {
        "application/javascript; charset=utf-8"
    }
}

/// FNV-1a with 64 bits: stable over versions and machines, which a hasher of the standard library does not promise.
fn fnv1a(content: &[u8]) -> u64 {
    content
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
