//! A member's manifest: which crates of ours it is built on, and whose lints it keeps.
//!
//! Reads the little TOML that manifests use, line by line; it is no TOML parser.

use super::finding::Finding;

/// The parts of a `Cargo.toml` that rules look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The path from the root of the repository.
    pub file: String,
    /// The name of the package.
    pub package: String,
    /// What it is built on (normal and build dependencies), with the line.
    pub dependencies: Vec<(String, usize)>,
    /// Whether it keeps the lints of the workspace.
    pub keeps_lints: bool,
}

impl Manifest {
    /// Reads a manifest from its text.
    pub fn read(file: &str, text: &str) -> Self {
        let mut manifest = Self { file: file.to_owned(), ..Self::default() };
        let mut section = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
                if let Some((parent, name)) = section.rsplit_once('.')
                    && is_dependencies(parent)
                {
                    manifest.dependencies.push((name.to_owned(), index + 1));
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            if section == "package" && key == "name" {
                manifest.package = value.trim_matches('"').to_owned();
            }
            manifest.keeps_lints |=
                value == "true" && ((section == "lints" && key == "workspace") || key == "lints.workspace");
            // The one crate that may be unsafe; it says so at each place, and keeps the others by a list of its own.
            manifest.keeps_lints |= manifest.package == "sockeye-sys"
                && section == "lints.rust"
                && (key, value) == ("unsafe_code", "\"deny\"");
            if is_dependencies(&section) {
                let name = key.split('.').next().unwrap_or(key);
                manifest.dependencies.push((name.to_owned(), index + 1));
            }
        }
        manifest
    }

    /// Dependencies among ours that the floor below does not offer.
    ///
    /// `floors` has a row for each package: its name and what it may use.
    pub fn floor_breaks(&self, floors: &[(&str, &[&str])]) -> Vec<Finding> {
        let ours = |name: &str| floors.iter().any(|(package, _)| *package == name);
        let Some((_, allowed)) = floors.iter().find(|(package, _)| *package == self.package) else {
            return vec![Finding {
                file: self.file.clone(),
                line: 1,
                what: format!("`{}` stands on no floor", self.package),
                fix: "give it a row in the table of crates/sim/tests/tidy.rs, and in ARCHITECTURE.md".into(),
            }];
        };
        let breaks = self.dependencies.iter().filter(|(name, _)| ours(name) && !allowed.contains(&&**name));
        breaks
            .map(|(name, line)| Finding {
                file: self.file.clone(),
                line: *line,
                what: format!("`{}` may not use `{name}`", self.package),
                fix: format!(
                    "it may use {}",
                    if allowed.is_empty() { "no crate of ours".into() } else { allowed.join(", ") }
                ),
            })
            .collect()
    }

    /// A member that does not keep the lints of the workspace.
    pub fn lint_breaks(&self) -> Option<Finding> {
        (!self.keeps_lints).then(|| Finding {
            file: self.file.clone(),
            line: 1,
            what: "the lints of the workspace are not kept".into(),
            fix: "add `[lints]` with `workspace = true`".into(),
        })
    }
}

fn is_dependencies(section: &str) -> bool {
    let last = section.rsplit('.').next().unwrap_or(section);
    last == "dependencies" || last == "build-dependencies"
}
