//! The house rules, as functions from the tree to what is wrong with it.
//!
//! Reads sources as tokens, so comments and strings never match. Knows nothing of types: what a compiler can tell is
//! left to rustc and clippy. `tests/tidy.rs` runs the rules on this repository.

mod finding;
pub mod imports;
pub mod manifest;
pub mod source;

use std::path::{Path, PathBuf};

pub use self::finding::Finding;
use self::imports::circles;
use self::manifest::Manifest;
use self::source::{Source, Token};

/// Lines that a file may have, tests, comments and blank lines included.
pub const FILE_LINES_MAX: usize = 600;

/// Crates that own no runtime, no clock and no randomness.
pub const PURE: [&str; 2] = ["crates/proto/", "crates/cluster/"];

/// All Rust files and manifests of the repository.
#[derive(Debug)]
pub struct Tree {
    /// The Rust files.
    pub sources: Vec<Source>,
    /// The manifests of the members.
    pub manifests: Vec<Manifest>,
}

impl Tree {
    /// Reads the tree under the root of the repository.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read or is no Rust.
    pub fn read(root: &Path) -> Result<Self, String> {
        let mut paths = Vec::new();
        for folder in ["crates", "examples", "bench", "tests"] {
            walk(&root.join(folder), &mut paths);
        }
        paths.sort();
        let (mut sources, mut manifests) = (Vec::new(), Vec::new());
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if name.ends_with("/Cargo.toml") {
                manifests.push(Manifest::read(&name, &text));
            } else {
                sources.push(Source::read(&name, &text)?);
            }
        }
        source::mark_test_files(&mut sources);
        Ok(Self { sources, manifests })
    }

    /// Files longer than [`FILE_LINES_MAX`].
    pub fn long_files(&self) -> Vec<Finding> {
        let long = self.sources.iter().filter(|source| source.lines > FILE_LINES_MAX);
        long.map(|source| Finding {
            file: source.file.clone(),
            line: FILE_LINES_MAX + 1,
            what: format!("the file has {} lines, all counted, of at most {FILE_LINES_MAX}", source.lines),
            fix: "split it where its `//!` needs a second \"and\"".into(),
        })
        .collect()
    }

    /// Files that do not open with `//!`.
    pub fn files_without_a_purpose(&self) -> Vec<Finding> {
        let mute = self.sources.iter().filter(|source| !source.has_purpose);
        mute.map(|source| Finding {
            file: source.file.clone(),
            line: 1,
            what: "the file does not open with `//!`".into(),
            fix: "say on its first line what it is for".into(),
        })
        .collect()
    }

    /// Words that stand nowhere, tests included.
    pub fn forbidden_words(&self) -> Vec<Finding> {
        let words: [(&[&str], &str); 7] = [
            (&["todo", "!"], "write it, or leave it out"),
            (&["unimplemented", "!"], "write it, or leave it out"),
            (&["dbg", "!"], "use tracing, or delete it"),
            (&["#", "[", "ignore"], "run the test, or delete it"),
            (&["unbounded_channel"], "bound it, and name the limit"),
            (&["unbounded", "("], "bound it, and name the limit"),
            (
                &["mpsc", ":", ":", "channel", "(", ")"],
                "std's channel has no bound: use sync_channel, and name the limit",
            ),
        ];
        self.sources.iter().flat_map(|source| matches(source, &words, |_| true)).collect()
    }

    /// `.unwrap()` outside tests and outside constants that the compiler evaluates.
    pub fn unwraps(&self) -> Vec<Finding> {
        let words: [(&[&str], &str); 1] =
            [(&[".", "unwrap", "(", ")"], "return an error, or `expect` the invariant that makes it safe")];
        let code = |token: &Token| !token.in_test && !token.in_const;
        self.code().flat_map(|source| matches(source, &words, code)).collect()
    }

    /// Runtimes, clocks, threads and randomness in the [`PURE`] crates, outside tests.
    pub fn impurities(&self) -> Vec<Finding> {
        let words: [(&[&str], &str); 8] = [
            (&["tokio"], "a driver above may use it: this crate only decides"),
            (&["Instant", ":", ":", "now"], "take `now: Instant` as an argument"),
            (&["SystemTime"], "take the time as an argument"),
            (&["rand"], "take random bits as an argument"),
            (&["getrandom"], "take random bits as an argument"),
            (&["std", ":", ":", "thread"], "a driver above may use it: this crate only decides"),
            (&["thread", ":", ":"], "a driver above may use it: this crate only decides"),
            (&["thread_local"], "each piece of state has one owner"),
        ];
        let pure = |source: &&Source| PURE.iter().any(|folder| source.file.starts_with(folder));
        self.code().filter(pure).flat_map(|source| matches(source, &words, |token| !token.in_test)).collect()
    }

    /// The files that not only tests see.
    fn code(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| !source.is_test)
    }

    /// Files of a crate that import each other in a circle.
    pub fn import_circles(&self) -> Vec<Finding> {
        let mut crates: Vec<_> = self.sources.iter().filter_map(Source::crate_folder).collect();
        crates.dedup();
        crates.iter().flat_map(|folder| circles(folder, &self.sources)).collect()
    }
}

/// The places of these words among the tokens of a file that count.
fn matches(source: &Source, words: &[(&[&str], &str)], counts: impl Fn(&Token) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, token)| counts(token)) {
        for (word, fix) in words {
            let here = source.tokens[at..].iter().map(|token| &*token.text).take(word.len());
            if here.eq(word.iter().copied()) {
                let (file, what) = (source.file.clone(), format!("`{}`", word.concat()));
                findings.push(Finding { file, line: token.line, what, fix: (*fix).into() });
            }
        }
    }
    findings
}

/// Collects Rust files and manifests; generated and foreign folders are not the house's.
fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", "peers", "rust-client"].contains(&&*name) && !name.starts_with('.')
            {
                walk(&path, paths);
            }
        } else if name == "Cargo.toml" || path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
