//! `docs/file.md` is held against the code: every key with its type, default and outcome, and every example.

mod common;

use sockeye_settings::SECTIONS;

#[test]
fn the_document_has_every_key_as_the_code_has_it() {
    let text = document();
    let mut missing = String::new();
    for section in SECTIONS {
        for row in section.rows().lines().filter(|row| !text.lines().any(|line| line == *row)) {
            missing.push_str(&format!("{}: {row}\n", section.header));
        }
        if !section.header.starts_with("the ") {
            assert!(text.contains(&format!("`{}`", section.header)), "{} has no heading", section.header);
        }
    }
    assert!(missing.is_empty(), "docs/file.md lacks:\n{missing}");
    let rows = |text: &str| {
        text.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 3).count()
    };
    let known: usize = SECTIONS.iter().map(|section| section.keys.len()).sum();
    assert_eq!(rows(&text), known, "docs/file.md has keys that are none");
}

#[test]
fn every_example_of_the_document_is_settled() {
    let text = document();
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 4, "{}", examples.len());
    for example in examples {
        if let Err(told) = common::with(example, &[]) {
            panic!("{told}\n{example}");
        }
    }
}

fn document() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/file.md")).expect("docs/file.md")
}
