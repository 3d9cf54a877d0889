//! What must hold for any bytes that a worker sends its parent.

use sockeye_link::pages::{Said, merge};
use sockeye_link::plain::{Event, Inbox, Misbehaved, ToParent, ToWorker};

/// A stream of words means the same however it is cut, and each word that reads is written as what reads the same.
pub fn plain(data: &[u8]) {
    let whole = hear(data, usize::MAX);
    for size in [1, 3, data.first().map_or(1, |byte| usize::from(byte % 61) + 1)] {
        assert_eq!(hear(data, size), whole, "in pieces of {size}");
    }
    for line in data.split(|byte| *byte == b'\n') {
        if let Some(word) = ToParent::decode(line) {
            let again = word.encode();
            assert_eq!(again.iter().position(|byte| *byte == b'\n'), Some(again.len() - 1), "one line");
            assert_eq!(ToParent::decode(&again), Some(word));
        }
        if let Some(word) = ToWorker::decode(line) {
            assert_eq!(ToWorker::decode(&word.encode()), Some(word));
        }
    }
}

/// Whatever workers say, one page comes of it: each family once and in one piece, each line with whose it is, and a word of each worker.
pub fn pages(data: &[u8]) {
    let said: Vec<Said> = (0..)
        .zip(data.split(|byte| *byte == 0x1e))
        .map(|(worker, page)| Said {
            app: "a\"}".to_owned(),
            worker,
            page: Some(String::from_utf8_lossy(page).into_owned()),
        })
        .collect();
    let page = merge(&said);
    let mut families: Vec<&str> = Vec::new();
    let mut answered = 0;
    for line in page.strip_suffix('\n').expect("the last line ends").split('\n') {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').expect("a type has a name");
            assert!(!families.contains(&name) && matches!(kind, "gauge" | "counter"), "{line}");
            families.push(name);
        } else if !line.starts_with("# HELP ") {
            let family = families.last().expect("a line comes after its type");
            let labels = line.strip_prefix(family).expect("a line is of its family");
            assert!(labels.starts_with("{app=\"a\\\"}\",worker=\""), "{line}");
            let (_, value) = line.rsplit_once(' ').expect("a line has a value");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            answered += usize::from(*family == "sockeye_worker_up");
        }
    }
    assert_eq!(answered, said.len());
}

fn hear(data: &[u8], size: usize) -> (Vec<Event>, Option<Misbehaved>) {
    let mut inbox = Inbox::default();
    let mut events = Vec::new();
    for mut piece in data.chunks(size) {
        while !piece.is_empty() {
            match inbox.decode(&mut piece) {
                Ok(event) => events.extend(event),
                Err(error) => return (events, Some(error)),
            }
        }
    }
    assert!(
        events.iter().skip(1).all(|event| !matches!(event, Event::Hello(_))),
        "hello comes once, and first"
    );
    (events, None)
}
