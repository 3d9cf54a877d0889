//! Static files: from a directory, or compiled into the program.
//!
//! It answers `GET` and `HEAD` with content types, validators and 304, and for directories with ranges too. It lists no directory, shows no dotfile,
//! compresses nothing and never leaves its directory by `..` (it does follow symbolic links that stand in it: whoever may write there decides).
//!
//! ```
//! use http::Request;
//! use sockeye_files::Files;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let page = Files::embedded(&[("index.html", b"<h1>Hello</h1>")]);
//! let answer = page.serve(&Request::get("/").body(())?).await;
//! assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
//! # Ok::<_, http::Error>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod directory;
mod embedded;

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};

pub use crate::answer::Body;
use crate::answer::nothing;
use crate::directory::Directory;
use crate::embedded::Embedded;

/// Files to serve. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Files(Source);

#[derive(Clone, Debug)]
enum Source {
    Directory(Directory),
    Embedded(Arc<Embedded>),
}

impl Files {
    /// The files below a directory. They are read at each request, so that a changed file is seen at once.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(Source::Directory(Directory::new(directory.into())))
    }

    /// Files compiled into the program, each with its path: `("css/page.css", include_bytes!("…"))`.
    #[must_use]
    pub fn embedded(files: &'static [(&'static str, &'static [u8])]) -> Self {
        Self(Source::Embedded(Arc::new(Embedded::new(files))))
    }

    /// Answers one request; only its head is looked at. `/` means `/index.html`, an unknown path gets a 404, another method a 405.
    pub async fn serve<B>(&self, request: &Request<B>) -> Response<Body> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            let mut answer = nothing(StatusCode::METHOD_NOT_ALLOWED);
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        if is_hidden(request.uri().path()) {
            return nothing(StatusCode::NOT_FOUND);
        }
        match &self.0 {
            Source::Directory(directory) => directory.serve(request).await,
            Source::Embedded(files) => files.serve(request),
        }
    }
}

/// Whether a path is not for the public: dotfiles, `..`, and separators in disguise, which no honest link holds.
fn is_hidden(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.contains("%2f")
        || path.contains("%5c")
        || path.contains('\\')
        || path.split('/').any(|segment| segment.starts_with('.') || segment.starts_with("%2e"))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn both_sources_answer_as_the_rows_say() {
        const HELLO: &[(&str, &[u8])] = &[
            ("index.html", b"<p>hello"),
            ("js/app.js", b"let a"),
            ("data.json", b"{}"),
            (".secret", b"no"),
            ("a/.git", b"no"),
        ];
        let directory = written(HELLO);
        for files in [Files::new(directory.path()), Files::embedded(HELLO)] {
            check(&files, "GET", "/", 200, "text/html", "<p>hello").await;
            check(&files, "GET", "/index.html?v=1", 200, "text/html", "<p>hello").await;
            check(&files, "GET", "/js/app.js", 200, "text/javascript", "let a").await;
            check(&files, "HEAD", "/js/app.js", 200, "text/javascript", "").await;
            check(&files, "GET", "/data.json", 200, "application/json", "{}").await;
            check(&files, "GET", "/nothing", 404, "", "").await;
            check(&files, "GET", "/index.html/x", 404, "", "").await;
            check(&files, "POST", "/", 405, "", "").await;
            check(&files, "DELETE", "/index.html", 405, "", "").await;
            for hidden in [
                "/.secret",
                "/%2esecret",
                "/a/.git",
                "/a%2f.git",
                "/../lib.rs",
                "/js/../index.html",
                "/%2e%2e/x",
                "/a/..%5cx",
                "/%2E%2E%2Fx",
                "//etc/passwd",
                "/%00",
                "/%ff",
            ] {
                check(&files, "GET", hidden, 404, "", "").await;
            }
        }
    }

    #[tokio::test]
    async fn an_unchanged_file_is_not_sent_again() {
        const PAGE: &[(&str, &[u8])] = &[("index.html", b"<p>hello")];
        let directory = written(PAGE);
        for (files, validator, condition) in [
            (Files::new(directory.path()), "last-modified", "if-modified-since"),
            (Files::embedded(PAGE), "etag", "if-none-match"),
        ] {
            let first = files.serve(&Request::get("/").body(()).unwrap()).await;
            assert_eq!(first.headers()["cache-control"], "public, max-age=0");
            let again = Request::get("/").header(condition, &first.headers()[validator]).body(()).unwrap();
            let again = files.serve(&again).await;
            assert_eq!(again.status(), 304, "{condition}");
            assert!(again.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    }

    #[tokio::test]
    async fn a_range_of_a_file_is_sent_alone() {
        let directory = written(&[("text.txt", b"0123456789")]);
        let request = Request::get("/text.txt").header("range", "bytes=2-4").body(()).unwrap();
        let answer = Files::new(directory.path()).serve(&request).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-range"]),
            (206, &"bytes 2-4/10".parse().unwrap())
        );
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "234");
    }

    #[tokio::test]
    async fn a_directory_that_is_not_there_is_empty() {
        check(&Files::new("/nonexistent/dir"), "GET", "/", 404, "", "").await;
    }

    async fn check(files: &Files, method: &str, path: &str, status: u16, content_type: &str, body: &str) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let answer = files.serve(&request).await;
        assert_eq!(answer.status(), status, "{method} {path} of {files:?}");
        if status == 200 {
            let found = answer.headers()["content-type"].to_str().unwrap();
            assert!(found.starts_with(content_type), "{path}: {found}");
        }
        let found = answer.into_body().collect().await.unwrap().to_bytes();
        if status == 200 {
            assert_eq!(found, body, "{method} {path}");
        }
    }

    fn written(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        directory
    }
}
