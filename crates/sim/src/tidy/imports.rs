//! Which file of a crate imports which, and where that goes in a circle.
//!
//! An import is any path into the crate: by `crate::`, `super::`, `self::`, or by the name of a child module.
//! Re-exports (`pub use`, of any visibility) are a table of contents, not an import: a path through one leads to where the
//! name comes from. Tests are not looked at. A glob re-export is not looked through.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::source::{Source, Token, close_of};

/// A circle of imports in a crate, reported at its first edge; one for each group of files that reach each other.
pub fn circles(folder: &str, sources: &[Source]) -> Vec<Finding> {
    let graph = Graph::of(folder, sources);
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    for start in graph.edges.keys() {
        if told.contains(start) {
            continue;
        }
        let Some(circle) = graph.way_back(start) else { continue };
        told.extend(circle.iter().cloned());
        let edge = |from: &String, to: &String| format!("{from}:{} → {to}", graph.edges[from][to]);
        let steps: Vec<_> = circle.windows(2).map(|pair| edge(&pair[0], &pair[1])).collect();
        findings.push(Finding {
            file: start.clone(),
            line: graph.edges[start][&circle[1]],
            what: format!("the imports go in a circle: {}", steps.join(", ")),
            fix: "move what both need into a third file".into(),
        });
    }
    findings
}

/// File → imported file → the line of the first such import.
#[derive(Debug, Default)]
struct Graph {
    edges: BTreeMap<String, BTreeMap<String, usize>>,
}

/// A path as it is written in a file, and the module in which it is written.
#[derive(Debug)]
struct Import {
    base: Vec<String>,
    path: Vec<String>,
    line: usize,
    reexport: bool,
}

type Files<'a> = BTreeMap<Vec<String>, &'a Source>;
type Reexports = BTreeMap<Vec<String>, Vec<String>>;

impl Graph {
    fn of(folder: &str, sources: &[Source]) -> Self {
        let mut files = Files::new();
        for source in sources.iter().filter(|source| source.crate_folder() == Some(folder) && !source.is_test)
        {
            if let Some(module) = source.module() {
                // With both a library and a binary, `crate::` of the modules is the library.
                files.entry(module).or_insert(source);
            }
        }
        let imports: Vec<_> =
            files.iter().map(|(module, source)| (source, imports(module, source))).collect();
        let mut reexports = Reexports::new();
        for import in imports.iter().flat_map(|(_, imports)| imports).filter(|import| import.reexport) {
            if let (Some(name), Some(target)) = (import.path.last(), absolute(import, &files)) {
                reexports.insert([&*import.base, std::slice::from_ref(name)].concat(), target);
            }
        }
        let mut graph = Self::default();
        for (source, imports) in &imports {
            for import in imports.iter().filter(|import| !import.reexport) {
                let Some(target) = absolute(import, &files) else { continue };
                let file = &home(target, &files, &reexports).file;
                if *file != source.file {
                    let edges = graph.edges.entry(source.file.clone()).or_default();
                    edges.entry(file.clone()).or_insert(import.line);
                }
            }
        }
        graph
    }

    /// The shortest way from a file back to itself.
    fn way_back(&self, start: &str) -> Option<Vec<String>> {
        let mut ways = vec![vec![start.to_owned()]];
        let mut seen = BTreeSet::new();
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in ways {
                let last = way.last().expect("a way has a start");
                for next in self.edges.get(last).into_iter().flat_map(BTreeMap::keys) {
                    let way = [&*way, std::slice::from_ref(next)].concat();
                    if next == start {
                        return Some(way);
                    }
                    if seen.insert(next.clone()) {
                        longer.push(way);
                    }
                }
            }
            ways = longer;
        }
        None
    }
}

/// The path from the root of the crate; `None` for a path into another crate.
fn absolute(import: &Import, files: &Files<'_>) -> Option<Vec<String>> {
    let mut base = import.base.clone();
    let mut path = &import.path[..];
    match path.first().map(String::as_str) {
        Some("crate") => base.clear(),
        Some("self") => {}
        Some("super") => {
            while let [first, rest @ ..] = path
                && first == "super"
            {
                base.pop();
                path = rest;
            }
            return Some([&*base, path].concat());
        }
        Some(child) => {
            let module = [&*base, &[child.to_owned()]].concat();
            return files.contains_key(&module).then(|| [&*base, path].concat());
        }
        None => return None,
    }
    Some([&*base, &path[1..]].concat())
}

/// The file in which a name is at home: re-exports are followed, then the longest module counts.
fn home<'a>(mut target: Vec<String>, files: &Files<'a>, reexports: &Reexports) -> &'a Source {
    // As many turns as a sane crate has re-exports of re-exports.
    for _ in 0..8 {
        let through = (0..=target.len()).rev().find_map(|length| {
            let real = reexports.get(&target[..length])?;
            Some([&**real, &target[length..]].concat())
        });
        match through {
            Some(real) if real != target => target = real,
            Some(_) | None => break,
        }
    }
    let longest = (0..=target.len()).rev().find_map(|length| files.get(&target[..length]));
    longest.expect("a crate has a root")
}

/// The paths that a file uses outside tests.
fn imports(module: &[String], source: &Source) -> Vec<Import> {
    let tokens = &source.tokens;
    let mut found = Vec::new();
    // Inline modules that are open here: their names, and where they end.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        inline.retain(|(_, end)| at < *end);
        let base = || [module, &*inline.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()].concat();
        let text = |at: usize| tokens.get(at).map_or("", |token| &*token.text);
        if tokens[at].in_test {
            at += 1;
        } else if text(at) == "mod" && text(at + 2) == "{" {
            inline.push((text(at + 1).to_owned(), close_of(tokens, at + 2)));
            at += 3;
        } else if text(at) == "use" && begins_item(tokens, at) {
            let reexport = at > 0 && matches!(text(at - 1), "pub" | ")");
            at = tree(tokens, at + 1, &[], &mut |path, line| {
                found.push(Import { base: base(), path, line, reexport });
            });
        } else if at + 2 < tokens.len() && is_word(text(at)) && text(at + 1) == ":" && text(at + 2) == ":" {
            let (path, end) = words(tokens, at);
            let inner = at > 0 && matches!(text(at - 1), ":" | "." | "$");
            if !inner {
                found.push(Import { base: base(), path, line: tokens[at].line, reexport: false });
            }
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

/// Whether `use` opens a statement here; in `impl Trait + use<'a>` it does not.
fn begins_item(tokens: &[Token], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|next| next.text != "<")
}

/// Reads a use tree (`a::{b, c::*, d as e}`) that begins here, tells its paths, and returns the place after it.
fn tree(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    tell: &mut impl FnMut(Vec<String>, usize),
) -> usize {
    let line = tokens.get(at).map_or(0, |token| token.line);
    let mut path = prefix.to_vec();
    while at < tokens.len() {
        match &*tokens[at].text {
            ":" | "*" => at += 1,
            // `as` renames here; the name that others use is the new one only in a re-export.
            "as" => at += 2,
            "{" => {
                let end = close_of(tokens, at);
                at += 1;
                while at < end {
                    at = tree(tokens, at, &path, tell);
                    if at < end {
                        at += 1;
                    }
                }
                return end + 1;
            }
            "," | "}" | ";" => break,
            word => {
                path.push(word.to_owned());
                at += 1;
            }
        }
    }
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    tell(path, line);
    at
}

/// The words of a path that begins here, and the place after it.
fn words(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut path = vec![tokens[at].text.clone()];
    at += 1;
    while at + 2 < tokens.len()
        && tokens[at].text == ":"
        && tokens[at + 1].text == ":"
        && is_word(&tokens[at + 2].text)
    {
        path.push(tokens[at + 2].text.clone());
        at += 3;
    }
    (path, at)
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}
