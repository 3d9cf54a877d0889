//! A directory as npm makes it, one without a version, and none.

use http::header::ACCEPT_ENCODING;
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::*;

const JS: &str = "application/javascript; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

#[tokio::test]
async fn the_official_files_are_served_by_the_official_names() {
    let dir = npm(Some("4.8.1"));
    let bundle = ClientBundle::find(Some(dir.path().join("dist")));
    for (name, content_type) in [
        ("socket.io.js", JS),
        ("socket.io.js.map", JSON),
        ("socket.io.min.js", JS),
        ("socket.io.esm.min.js", JS),
        ("socket.io.msgpack.min.js.map", JSON),
    ] {
        let response = bundle.respond(name, &HeaderMap::new(), false).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], content_type, "{name}");
        assert_eq!(response.headers()[ETAG], "\"4.8.1\"");
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=0");
        assert_eq!(response.headers()[CONTENT_LENGTH], (name.len() + 3).to_string());
        assert_eq!(body(response).await, format!("// {name}"));
    }
    for name in ["", "package.json", "../package.json", "socket.io.min.js.gz", "secret.js", "SOCKET.IO.JS"] {
        assert!(bundle.respond(name, &HeaderMap::new(), false).is_none(), "{name}");
    }
}

#[test]
fn a_copy_that_is_current_is_not_sent_again() {
    let dir = npm(Some("4.8.1"));
    let bundle = ClientBundle::find(Some(dir.path().join("dist")));
    for (known, status) in [
        ("\"4.8.1\"", 304),
        ("W/\"4.8.1\"", 304),
        ("\"1.0\", W/\"4.8.1\"", 304),
        ("*", 304),
        ("\"4.8.0\"", 200),
        ("4.8.1", 200),
        ("", 200),
    ] {
        let request = HeaderMap::from_iter([(IF_NONE_MATCH, known.parse().unwrap())]);
        let response = bundle.respond("socket.io.min.js", &request, false).unwrap();
        assert_eq!(response.status(), status, "{known}");
        assert_eq!(response.headers()[ETAG], "\"4.8.1\"");
    }
}

#[tokio::test]
async fn a_client_that_reads_an_encoding_gets_it() {
    let dir = npm(Some("4.8.1"));
    let bundle = ClientBundle::find(Some(dir.path().join("dist")));
    for (accept, encoding, start) in [
        ("gzip, deflate, br", Some("gzip"), &[0x1F, 0x8B][..]),
        ("deflate", Some("deflate"), &[0x78]),
        ("br, gzip", Some("gzip"), &[0x1F, 0x8B]),
        ("identity", None, b"// socket.io.js"),
        ("gzip;q=0", None, b"// socket.io.js"),
    ] {
        let request = HeaderMap::from_iter([(ACCEPT_ENCODING, accept.parse().unwrap())]);
        let response = bundle.respond("socket.io.js", &request, false).unwrap();
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header(CONTENT_ENCODING).as_deref(), encoding, "{accept}");
        assert_eq!(header(VARY).as_deref(), Some("Accept-Encoding"));
        let length = header(CONTENT_LENGTH);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(start), "{accept}");
        assert_eq!(length, Some(body.len().to_string()));
    }
}

#[tokio::test]
async fn a_head_gets_the_length_and_no_body() {
    let dir = npm(Some("4.8.1"));
    let bundle = ClientBundle::find(Some(dir.path().join("dist")));
    let response = bundle.respond("socket.io.js", &HeaderMap::new(), true).unwrap();
    assert_eq!(response.headers()[CONTENT_LENGTH], "15");
    assert_eq!(body(response).await, "");
}

#[test]
fn files_without_a_version_are_told_apart_by_what_they_hold() {
    for version in [None, Some("4\\\"8"), Some("4.8.1\\n")] {
        let dir = npm(version);
        let bundle = ClientBundle::find(Some(dir.path().join("dist")));
        let etag = |name| bundle.respond(name, &HeaderMap::new(), true).unwrap().headers()[ETAG].clone();
        assert_ne!(etag("socket.io.js"), etag("socket.io.min.js"));
    }
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn a_file_that_is_missing_or_too_long_is_not_there() {
    let dir = npm(None);
    let long = dir.path().join("dist/socket.io.min.js");
    fs::remove_file(dir.path().join("dist/socket.io.js.map")).unwrap();
    fs::File::create(&long).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    let bundle = ClientBundle::find(Some(dir.path().join("dist")));
    for name in ["socket.io.js.map", "socket.io.min.js"] {
        assert!(bundle.respond(name, &HeaderMap::new(), false).is_none());
    }
    fs::write(long, "short").unwrap();
    assert!(bundle.respond("socket.io.min.js", &HeaderMap::new(), false).is_some());
}

#[tokio::test]
async fn without_a_directory_our_own_client_is_served() {
    let bundle = ClientBundle::find(Some("/nowhere".into()));
    for name in ["socket.io.js", "socket.io.min.js"] {
        let response = bundle.respond(name, &HeaderMap::new(), false).unwrap();
        assert_eq!(response.headers()[CONTENT_TYPE], JS);
        let request = HeaderMap::from_iter([(IF_NONE_MATCH, response.headers()[ETAG].clone())]);
        assert_eq!(bundle.respond(name, &request, false).unwrap().status(), 304);
        assert_eq!(body(response).await.as_bytes(), OWN_CLIENT);
    }
    for name in ["socket.io.js.map", "socket.io.esm.min.js", "socket.io.msgpack.min.js"] {
        assert!(bundle.respond(name, &HeaderMap::new(), false).is_none());
    }
}

/// A package as npm installs it: `package.json` and `dist/`.
fn npm(version: Option<&str>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("dist")).unwrap();
    for name in NAMES.iter().chain(&["secret.js"]) {
        fs::write(dir.path().join("dist").join(name), format!("// {name}")).unwrap();
    }
    if let Some(version) = version {
        let package =
            format!(r#"{{"name":"socket.io-client","version":"{version}","main":"./build/cjs/index.js"}}"#);
        fs::write(dir.path().join("package.json"), package).unwrap();
    }
    dir
}

async fn body(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.into()).unwrap()
}
