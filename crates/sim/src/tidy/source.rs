//! A Rust file as tokens: where each stands, and whether only tests see it.

use std::str::FromStr as _;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A Rust file.
#[derive(Debug)]
pub struct Source {
    /// The path from the root of the repository.
    pub file: String,
    /// How many lines it has.
    pub lines: usize,
    /// Whether it opens with `//!`.
    pub has_purpose: bool,
    /// Whether the whole file is compiled for tests only.
    pub is_test: bool,
    /// The tokens; comments are none.
    pub tokens: Vec<Token>,
}

/// A word, a sign, a literal or a bracket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// As it is written.
    pub text: String,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// Whether it stands in something marked `#[cfg(test)]`.
    pub in_test: bool,
    /// Whether it stands in a `const { … }`, whose panics are errors of the compiler.
    pub in_const: bool,
}

impl Source {
    /// Reads a file from its text.
    ///
    /// # Errors
    ///
    /// Fails when the text has no tokens of Rust.
    pub fn read(file: &str, text: &str) -> Result<Self, String> {
        let stream = TokenStream::from_str(text).map_err(|error| format!("{file}: {error}"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        mark_tests(&mut tokens);
        mark_constants(&mut tokens);
        Ok(Self {
            file: file.to_owned(),
            lines: text.lines().count(),
            has_purpose: text.starts_with("//!"),
            is_test: file.split('/').any(|part| part == "tests" || part == "benches"),
            tokens,
        })
    }

    /// The folder of the crate that the file belongs to, if it stands in a `src`.
    pub fn crate_folder(&self) -> Option<&str> {
        self.file.split_once("/src/").map(|(folder, _)| folder)
    }

    /// The module that the file holds, as its path inside the crate; `None` outside `src` and for further binaries.
    pub fn module(&self) -> Option<Vec<String>> {
        let (_, file) = self.file.split_once("/src/")?;
        let stem = file.strip_suffix(".rs")?;
        if stem == "lib" || stem == "main" {
            return Some(Vec::new());
        }
        let mut parts: Vec<_> = stem.split('/').map(str::to_owned).collect();
        if parts[0] == "bin" {
            return None;
        }
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        Some(parts)
    }
}

/// Marks the files of modules that are declared under `#[cfg(test)]`.
pub fn mark_test_files(sources: &mut [Source]) {
    let mut test_modules = Vec::new();
    for source in &*sources {
        let (Some(folder), Some(module)) = (source.crate_folder(), source.module()) else { continue };
        for words in source.tokens.windows(3) {
            if words[0].in_test && words[0].text == "mod" && words[2].text == ";" {
                let path = [module.clone(), vec![words[1].text.clone()]].concat();
                test_modules.push((folder.to_owned(), path));
            }
        }
    }
    for source in sources {
        let (Some(folder), Some(module)) = (source.crate_folder(), source.module()) else { continue };
        source.is_test |= test_modules.iter().any(|(f, path)| f == folder && module.starts_with(path));
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let token = |text: String, line| Token { text, line, in_test: false, in_const: false };
        match tree {
            TokenTree::Ident(ident) => tokens.push(token(ident.to_string(), line)),
            TokenTree::Punct(sign) => tokens.push(token(sign.as_char().to_string(), line)),
            TokenTree::Literal(literal) => tokens.push(token(literal.to_string(), line)),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(token(open.into(), line));
                flatten(group.stream(), tokens);
                tokens.push(token(close.into(), group.span_close().start().line));
            }
        }
    }
}

/// Marks each item that follows a `#[cfg(test)]` (or `cfg(all(test, …))`), up to its `;` or the end of its body.
fn mark_tests(tokens: &mut [Token]) {
    let mut at = 0;
    while at < tokens.len() {
        let text = |offset: usize| tokens.get(at + offset).map_or("", |token| &token.text);
        let opens = ["#", "[", "cfg", "("].iter().enumerate().all(|(offset, word)| text(offset) == *word);
        let for_tests = opens && (text(4) == "test" || (text(4) == "all" && text(6) == "test"));
        if !for_tests {
            at += 1;
            continue;
        }
        let end = item_end(tokens, close_of(tokens, at + 1) + 1);
        tokens[at..end].iter_mut().for_each(|token| token.in_test = true);
        at = end;
    }
}

/// Marks what stands in each `const { … }`.
fn mark_constants(tokens: &mut [Token]) {
    for at in 1..tokens.len() {
        if tokens[at].text == "{" && tokens[at - 1].text == "const" {
            let end = close_of(tokens, at);
            tokens[at..end].iter_mut().for_each(|token| token.in_const = true);
        }
    }
}

/// The place after the item that begins here: further attributes, then all up to a `;` or a body outside brackets.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len() {
        match &*tokens[at].text {
            ";" => return at + 1,
            "{" => return close_of(tokens, at) + 1,
            "(" | "[" => at = close_of(tokens, at) + 1,
            _ => at += 1,
        }
    }
    at.min(tokens.len())
}

/// The place of the bracket that closes the one at `open`.
pub(super) fn close_of(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match &*token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}
