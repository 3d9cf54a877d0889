//! The house rules, held against this repository; and each rule, held against a line that breaks it.

use std::path::Path;

use sockeye_sim::tidy::imports::circles;
use sockeye_sim::tidy::manifest::Manifest;
use sockeye_sim::tidy::source::{Source, mark_test_files};
use sockeye_sim::tidy::{FILE_LINES_MAX, Finding, Tree};

/// Paths and texts of some files.
type Files<'a> = &'a [(&'a str, &'a str)];

/// What each package may use of ours, in `[dependencies]`; the floors of ARCHITECTURE.md. In `[dev-dependencies]` also `sim`.
const FLOORS: &[(&str, &[&str])] = &[
    // Floor 1: no crate of ours.
    ("sockeye-proto", &[]),
    ("sockeye-relay", &[]),
    ("sockeye-link", &[]),
    ("sockeye-files", &[]),
    ("sockeye-sys", &[]),
    // Floor 2.
    ("sockeye-cluster", &["sockeye-proto"]),
    // Floor 3.
    (
        "sockeye",
        &[
            "sockeye-cluster",
            "sockeye-relay",
            "sockeye-link",
            "sockeye-files",
            "sockeye-proto",
            "sockeye-sys",
        ],
    ),
    ("sockeye-edge", &["sockeye-relay", "sockeye-link", "sockeye-files", "sockeye-proto"]),
    ("sockeye-supervisor", &["sockeye-link"]),
    ("sockeye-client", &["sockeye-proto"]),
    ("sockeye-redis", &["sockeye-cluster", "sockeye-proto"]),
    ("sockeye-nats", &["sockeye-cluster", "sockeye-proto"]),
    ("sockeye-postgres", &["sockeye-cluster", "sockeye-proto"]),
    ("sockeye-mongo", &["sockeye-cluster", "sockeye-proto"]),
    // Floor 4.
    (
        "sockeye-adapters",
        &["sockeye-redis", "sockeye-nats", "sockeye-postgres", "sockeye-mongo", "sockeye-cluster"],
    ),
    ("sockeye-doctor", &["sockeye-client", "sockeye-proto"]),
    ("sockeye-emitter", &["sockeye", "sockeye-cluster", "sockeye-proto"]),
    ("sockeye-settings", &["sockeye-edge", "sockeye-supervisor"]),
    // Floor 5.
    (
        "sockeye-cli",
        &[
            "sockeye-settings",
            "sockeye",
            "sockeye-edge",
            "sockeye-supervisor",
            "sockeye-cluster",
            "sockeye-relay",
            "sockeye-link",
            "sockeye-files",
            "sockeye-proto",
            "sockeye-sys",
            "sockeye-emitter",
            "sockeye-client",
            "sockeye-doctor",
            "chat",
        ],
    ),
    // Floor 6: the daemon and the keepers are the program without it.
    ("sockeye-backplanes", &["sockeye-cli", "sockeye-adapters"]),
    // Beside: only ever a dev-dependency.
    (
        "sockeye-sim",
        &[
            "sockeye",
            "sockeye-edge",
            "sockeye-supervisor",
            "sockeye-cluster",
            "sockeye-relay",
            "sockeye-link",
            "sockeye-files",
            "sockeye-client",
            "sockeye-doctor",
            "sockeye-settings",
            "sockeye-proto",
        ],
    ),
    ("sockeye-adapter-suite", &["sockeye-cluster", "sockeye-proto"]),
    // Programs that use the library as people do.
    ("chat", &["sockeye"]),
    ("conformance", &["sockeye", "sockeye-adapters", "sockeye-proto"]),
    ("bench-server", &["sockeye", "sockeye-adapters"]),
    ("bench-load", &["sockeye-proto"]),
    ("bench-floor", &[]),
];

#[test]
fn crates_use_only_the_floors_below_them() {
    let tree = tree();
    assert_tidy(tree.manifests.iter().flat_map(|manifest| manifest.floor_breaks(FLOORS)));
    assert!(tree.manifests.len() > 10, "the manifests were not found");
}

#[test]
fn the_program_of_the_daemon_and_the_keepers_has_no_backplane() {
    let mut found = vec!["sockeye-cli"];
    let mut next = 0;
    while let Some(package) = found.get(next) {
        let uses = FLOORS.iter().find(|(name, _)| name == package).map_or(&[][..], |(_, uses)| uses);
        let new: Vec<_> = uses.iter().filter(|name| !found.contains(name)).copied().collect();
        found.extend(new);
        next += 1;
    }
    for backplane in
        ["sockeye-adapters", "sockeye-redis", "sockeye-nats", "sockeye-postgres", "sockeye-mongo"]
    {
        assert!(
            !found.contains(&backplane),
            "{backplane} is in `sockeye`: it belongs into sockeye-backplanes"
        );
    }
    assert!(found.len() > 10, "{found:?}");
}

#[test]
fn every_member_keeps_the_lints_of_the_workspace() {
    assert_tidy(tree().manifests.iter().filter_map(Manifest::lint_breaks));
}

#[test]
fn no_file_imports_itself_in_a_circle() {
    assert_tidy(tree().import_circles());
}

#[test]
fn no_file_is_longer_than_the_wall() {
    assert_tidy(tree().long_files());
}

#[test]
fn every_file_says_what_it_is_for() {
    assert_tidy(tree().files_without_a_purpose());
}

#[test]
fn pure_crates_have_no_runtime_clock_thread_or_randomness() {
    assert_tidy(tree().impurities());
}

#[test]
fn nothing_is_unbounded_unfinished_or_left_over() {
    assert_tidy(tree().forbidden_words());
}

#[test]
fn only_tests_unwrap() {
    assert_tidy(tree().unwraps());
}

#[test]
fn forbidden_words_are_found_in_code_and_only_there() {
    let rows: [(&str, &[&str]); 12] = [
        ("fn f() { todo!() }", &["todo!"]),
        ("fn f() {\n    unimplemented!(\"x\") }", &["unimplemented!"]),
        ("fn f() { dbg!(1); }", &["dbg!"]),
        ("#[test]\n#[ignore]\nfn f() {}", &["#[ignore"]),
        ("#[test]\n#[ignore = \"slow\"]\nfn f() {}", &["#[ignore"]),
        ("fn f() { tokio::sync::mpsc::unbounded_channel(); }", &["unbounded_channel"]),
        ("fn f() { flume::unbounded(); }", &["unbounded("]),
        ("fn f() { std::sync::mpsc::channel(); }", &["mpsc::channel()"]),
        ("#[cfg(test)]\nmod tests { fn f() { todo!() } }", &["todo!"]),
        ("// todo!()\n/* dbg!(1) */\n/// `#[ignore]`\nfn f() { \"todo!()\"; }", &[]),
        ("fn todo() { todo(); oneshot::channel(); mpsc::channel(1); }", &[]),
        ("fn f() { let unbounded = 1; }", &[]),
    ];
    for (text, words) in rows {
        let findings = of("crates/x/src/lib.rs", text).forbidden_words();
        assert_eq!(whats(&findings), words, "{text}");
    }
}

#[test]
fn an_unwrap_is_found_outside_tests() {
    let rows = [
        ("crates/x/src/lib.rs", "fn f() { g().unwrap(); }", true),
        ("crates/x/src/lib.rs", "fn f() { g().unwrap_or(1); }", false),
        ("crates/x/src/lib.rs", "#[cfg(test)]\nmod tests { fn f() { g().unwrap(); } }", false),
        ("crates/x/src/lib.rs", "#[cfg(test)] fn h() {}\nfn f() { g().unwrap(); }", true),
        ("crates/x/src/lib.rs", "#[cfg(all(test, unix))] #[x] fn h(a: [u8; 3]) { g().unwrap() }", false),
        ("crates/x/src/lib.rs", "#[cfg(unix)] fn f() { g().unwrap(); }", true),
        ("crates/x/src/lib.rs", "fn f() { const { NonZero::new(1).unwrap() } }", false),
        ("crates/x/src/lib.rs", "const fn f() { g().unwrap() }", true),
        ("crates/x/tests/it.rs", "fn f() { g().unwrap(); }", false),
    ];
    for (file, text, found) in rows {
        assert_eq!(!of(file, text).unwraps().is_empty(), found, "{text}");
    }
}

#[test]
fn a_module_that_only_tests_compile_is_a_test() {
    let sources = [
        ("crates/x/src/a.rs", "#[cfg(test)]\nmod tests;"),
        ("crates/x/src/a/tests.rs", "fn f() { g().unwrap(); }"),
        ("crates/x/src/tests_of_b.rs", "fn f() { g().unwrap(); }"),
    ];
    let found = files(&sources).unwraps();
    assert_eq!(
        found.iter().map(|finding| &*finding.file).collect::<Vec<_>>(),
        ["crates/x/src/tests_of_b.rs"]
    );
}

#[test]
fn a_pure_crate_that_reads_a_clock_is_found() {
    let rows = [
        ("use tokio::net;", true),
        ("fn f() { Instant::now(); }", true),
        ("use std::time::SystemTime;", true),
        ("fn f() { rand::random(); }", true),
        ("fn f() { std::thread::spawn(g); }", true),
        ("/// No tokio here.\nuse std::time::Instant;\nfn f(now: Instant) { let thread = 1; }", false),
        ("#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }", false),
    ];
    for (text, found) in rows {
        assert_eq!(!of("crates/proto/src/a.rs", text).impurities().is_empty(), found, "{text}");
        assert!(of("crates/edge/src/a.rs", text).impurities().is_empty(), "{text}");
    }
}

#[test]
fn a_circle_of_imports_is_found_and_shown() {
    let rows: [(Files, Option<&str>); 12] = [
        (&[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "fn f() {}")], None),
        (
            &[("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b::B;"), ("b.rs", "\nuse crate::{x, a::A};")],
            Some("a.rs:1 → b.rs, b.rs:2 → a.rs"),
        ),
        // By a path in an expression, and over three files.
        (
            &[("a.rs", "fn f() { crate::b::f() }"), ("b.rs", "use super::c::C;"), ("c.rs", "use crate::a;")],
            Some("a.rs:1 → b.rs, b.rs:1 → c.rs, c.rs:1 → a.rs"),
        ),
        // A parent that uses its child, and the child its parent.
        (
            &[("a.rs", "mod x;\nfn f() { x::f() }"), ("a/x.rs", "use super::A;")],
            Some("a.rs:2 → a/x.rs, a/x.rs:1 → a.rs"),
        ),
        (
            &[
                ("a.rs", "mod x;\npub use x::X;\nuse self::x::Y;"),
                ("a/x.rs", "use crate::b::B;"),
                ("b.rs", ""),
            ],
            None,
        ),
        // A table of contents imports nothing, and a path through it leads to where the name is at home.
        (&[("lib.rs", "mod a; pub use a::A;"), ("a.rs", "use crate::b::B;"), ("b.rs", "")], None),
        (
            &[
                ("lib.rs", "mod a; pub use a::A; pub use b::{B, C};"),
                ("a.rs", "use crate::{C, D};"),
                ("b.rs", "use crate::A;"),
            ],
            Some("a.rs:1 → b.rs, b.rs:1 → a.rs"),
        ),
        (
            &[
                ("m.rs", "mod a; pub(crate) use a::A;"),
                ("m/a.rs", "use crate::n::N;"),
                ("n.rs", "use crate::m::A;"),
            ],
            Some("m/a.rs:1 → n.rs, n.rs:1 → m/a.rs"),
        ),
        // The root takes part when it does more than list.
        (
            &[("lib.rs", "mod a; use a::A; struct B;"), ("a.rs", "use crate::B;")],
            Some("a.rs:1 → lib.rs, lib.rs:1 → a.rs"),
        ),
        // Tests may import what they like.
        (&[("a.rs", "use crate::b;"), ("b.rs", "#[cfg(test)]\nmod tests { use crate::a; }")], None),
        // Inside an inline module `super` is the file itself.
        (&[("a.rs", "mod x { use super::B; }\nuse crate::b;"), ("b.rs", "fn f() { Vec::new(); }")], None),
        (
            &[("a/mod.rs", "use crate::b;"), ("b.rs", "use crate::a::A;")],
            Some("a/mod.rs:1 → b.rs, b.rs:1 → a/mod.rs"),
        ),
    ];
    for (sources, expected) in rows {
        let named: Vec<_> =
            sources.iter().map(|(name, text)| (format!("crates/x/src/{name}"), *text)).collect();
        let mut sources: Vec<_> = named.iter().map(|(name, text)| source(name, text)).collect();
        if !sources.iter().any(|source| source.file.ends_with("lib.rs")) {
            sources.push(source("crates/x/src/lib.rs", ""));
        }
        let found = circles("crates/x", &sources);
        let shown = found.first().map(|finding| finding.what.replace("crates/x/src/", ""));
        let expected = expected.map(|steps| format!("the imports go in a circle: {steps}"));
        assert_eq!(shown, expected, "{named:?}");
        assert!(found.len() <= 1, "{found:?}");
    }
}

#[test]
fn a_manifest_that_reaches_up_is_found() {
    let floors: [(&str, &[&str]); 3] = [("a", &[]), ("b", &["a"]), ("sim", &["a", "b"])];
    let rows: [(&str, &[&str]); 8] = [
        ("[package]\nname = \"b\"\n[dependencies]\na.workspace = true\nserde = \"1\"", &[]),
        ("[package]\nname = \"a\"\n[dependencies]\nb.workspace = true", &["`a` may not use `b`"]),
        ("[package]\nname = \"a\"\n[dependencies]\nb = { path = \"../b\" } # why", &["`a` may not use `b`"]),
        ("[package]\nname = \"a\"\n[dependencies.b]\npath = \"../b\"", &["`a` may not use `b`"]),
        (
            "[package]\nname = \"a\"\n[target.'cfg(unix)'.dependencies]\nb.workspace = true",
            &["`a` may not use `b`"],
        ),
        ("[package]\nname = \"a\"\n[dev-dependencies]\nsim.workspace = true\nb.workspace = true", &[]),
        ("[package]\nname = \"b\"\n[dependencies]\nsim.workspace = true", &["`b` may not use `sim`"]),
        ("[package]\nname = \"c\"", &["`c` stands on no floor"]),
    ];
    for (text, expected) in rows {
        let findings = Manifest::read("crates/x/Cargo.toml", text).floor_breaks(&floors);
        assert_eq!(whats(&findings), expected, "{text}");
    }
}

#[test]
fn a_manifest_without_the_lints_is_found() {
    let rows = [
        ("[lints]\nworkspace = true", true),
        ("lints.workspace = true", true),
        ("[lints]\nworkspace = false", false),
        ("[package]\nname = \"x\"", false),
    ];
    for (text, keeps) in rows {
        assert_eq!(Manifest::read("Cargo.toml", text).lint_breaks().is_none(), keeps, "{text}");
    }
}

#[test]
fn a_file_is_as_long_as_all_its_lines() {
    let lines = |count: usize| format!("//! Long.\n{}", "\n".repeat(count - 1));
    assert!(of("crates/x/src/lib.rs", &lines(FILE_LINES_MAX)).long_files().is_empty());
    assert_eq!(of("crates/x/src/lib.rs", &lines(FILE_LINES_MAX + 1)).long_files().len(), 1);
}

#[test]
fn a_finding_names_the_file_the_line_and_the_fix() {
    let found = of("crates/x/src/lib.rs", "fn f() {\n    dbg!(1);\n}").forbidden_words();
    assert_eq!(found[0].to_string(), "crates/x/src/lib.rs:2: `dbg!`; use tracing, or delete it");
}

#[track_caller]
fn assert_tidy(findings: impl IntoIterator<Item = Finding>) {
    let lines: Vec<_> = findings.into_iter().map(|finding| finding.to_string()).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

fn tree() -> Tree {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = root.canonicalize().expect("the repository is here");
    Tree::read(&root).unwrap_or_else(|error| panic!("{error}"))
}

fn of(file: &str, text: &str) -> Tree {
    files(&[(file, text)])
}

fn files(sources: &[(&str, &str)]) -> Tree {
    let mut sources: Vec<_> = sources.iter().map(|(file, text)| source(file, text)).collect();
    mark_test_files(&mut sources);
    Tree { sources, manifests: Vec::new() }
}

fn source(file: &str, text: &str) -> Source {
    Source::read(file, text).expect("it has tokens")
}

fn whats(findings: &[Finding]) -> Vec<&str> {
    findings
        .iter()
        .map(|finding| finding.what.trim_matches(|c| c == '`' && !finding.what.contains("` ")))
        .collect()
}
