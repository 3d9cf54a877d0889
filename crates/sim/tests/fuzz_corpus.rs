//! Every fuzz target on stable Rust: its corpus, then 10,000 mutations of it, the same ones each time.

use std::path::Path;
use std::{fs, panic};

use sockeye_sim::fuzz::TARGETS;

const MUTATIONS: u64 = 10_000;

#[test]
fn every_target_holds_on_its_corpus_and_on_mutations_of_it() {
    for (name, target) in TARGETS {
        let seeds = corpus(name);
        assert!(seeds.len() >= 10, "the corpus of {name} has {} files", seeds.len());
        for (file, data) in &seeds {
            run(target, data, &format!("corpus/{name}/{file}"));
        }
        let mut random = Random(0x50CC_EE7E);
        for round in 0..MUTATIONS {
            run(target, &random.mutation(&seeds), &format!("{name}, mutation {round}"));
        }
    }
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> = entries
        .map(|entry| entry.expect("the corpus can be listed"))
        .map(|entry| {
            let data = fs::read(entry.path()).expect("the corpus can be read");
            (entry.file_name().to_string_lossy().into_owned(), data)
        })
        .collect();
    seeds.sort();
    seeds
}

fn run(target: fn(&[u8]), data: &[u8], what: &str) {
    if let Err(cause) = panic::catch_unwind(|| target(data)) {
        eprintln!("{what}: {:?}", data.escape_ascii().to_string());
        panic::resume_unwind(cause);
    }
}

/// xorshift64*: the same mutations on every machine.
struct Random(u64);

impl Random {
    fn mutation(&mut self, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut data = self.pick(seeds).1.clone();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            let end = at + self.below((data.len() - at).min(16) + 1);
            match self.below(7) {
                0 => drop(data.drain(at..end)),
                1 => data.truncate(at),
                2 => data.insert(at, self.below(256) as u8),
                3 => drop(data.splice(at..at, self.pick(&TOKENS).bytes())),
                4 => data.extend_from_within(at..end),
                5 => {
                    let other = &self.pick(seeds).1;
                    let from = self.below(other.len() + 1);
                    data.extend_from_slice(&other[from..]);
                }
                _ => {
                    if let Some(byte) = data.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
            }
        }
        data
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as usize % bound
    }
}

const TOKENS: [&str; 24] = [
    "\x1e",
    "\"",
    "\\",
    "[",
    "]",
    "{",
    "}",
    ",",
    "-",
    "/",
    " ",
    "\r\n",
    ":",
    "€",
    "\u{0}",
    "%",
    "&",
    "=",
    "\\ud800",
    "1e9",
    "{\"_placeholder\":true,\"num\":0}",
    "\u{7f}",
    "null",
    "9999999999",
];
