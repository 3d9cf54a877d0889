//! What is answered to which offer; the answers to valid ones were heard from the official server's `ws` 8.23.

use super::*;

#[test]
fn valid_offers_are_answered_as_by_the_official_server() {
    for (offer, answers) in ROWS {
        for ((name, config), wanted) in configs().iter().zip(answers) {
            let wanted = (wanted != "declined").then(|| format!("permessage-deflate{wanted}"));
            assert_eq!(header(config, &[offer]), wanted, "{offer}, {name}");
        }
    }
}

#[test]
fn an_invalid_offer_is_declined_alone() {
    for bad in [
        "x=1",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits=9; client_max_window_bits",
        "server_no_context_takeover; server_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        "server_max_window_bits=1e1",
        "server_max_window_bits=0xa",
        "server_max_window_bits=+10",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "Client_Max_Window_Bits",
    ] {
        let offer = format!("permessage-deflate; {bad}");
        assert_eq!(header(&OFFICIAL, &[&offer]), None, "{bad}");
        let second = format!("{offer}, permessage-deflate; client_no_context_takeover");
        let wanted = Some("permessage-deflate; client_no_context_takeover".to_owned());
        assert_eq!(header(&OFFICIAL, &[&second]), wanted, "{bad}");
        assert_eq!(
            header(&OFFICIAL, &[&offer, "permessage-deflate; client_no_context_takeover"]),
            wanted,
            "{bad}"
        );
    }
}

#[test]
fn other_extensions_and_malformed_fields_are_passed_over() {
    let plain = Some("permessage-deflate".to_owned());
    assert_eq!(header(&OFFICIAL, &[]), None);
    assert_eq!(header(&OFFICIAL, &["x-webkit-deflate-frame, bbf-usp-protocol; a=1"]), None);
    assert_eq!(header(&OFFICIAL, &["Permessage-Deflate"]), None);
    assert_eq!(header(&OFFICIAL, &["x", "permessage-deflate"]), plain);
    assert_eq!(header(&OFFICIAL, &["permessage-deflate,", "permessage-deflate"]), plain);
    for bad in
        ["permessage-deflate;", ", permessage-deflate", "permessage-deflate; server_max_window_bits=\"10"]
    {
        assert_eq!(header(&OFFICIAL, &[bad]), None, "{bad}");
    }
}

#[test]
fn an_answer_says_what_both_sides_hold_to() {
    let answer = |config: &DeflateConfig, offer: &str| {
        config.answer([offer.as_bytes()], &Budget::new(usize::MAX)).unwrap().agreement
    };
    assert_eq!(answer(&OFFICIAL, "permessage-deflate; client_max_window_bits"), PLAIN);
    let agreed = answer(&OFFICIAL, "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10");
    assert_eq!((agreed.server_max_window_bits.bits(), agreed.client_max_window_bits.bits()), (10, 9));
    assert_eq!(agreed.shared_window(), None);
    let agreed = answer(&DeflateConfig::default(), "permessage-deflate; client_max_window_bits");
    assert!(agreed.server_no_context_takeover && agreed.client_no_context_takeover);
    assert_eq!(agreed.shared_window(), Some(Window::MAX));
    assert_eq!((agreed.context_bytes(Role::Server), agreed.context_bytes(Role::Client)), (0, 0));
}

#[test]
fn a_connection_that_the_budget_does_not_hold_keeps_nothing() {
    let wanted = PLAIN.context_bytes(Role::Server);
    assert_eq!(wanted, (47 + 372) << 10);
    let budget = Budget::new(wanted);
    let first = OFFICIAL.answer([&b"permessage-deflate"[..]], &budget).unwrap();
    assert_eq!((&*first.header, budget.left()), ("permessage-deflate", 0));
    let second = OFFICIAL.answer([&b"permessage-deflate"[..]], &budget).unwrap();
    assert_eq!(second.header, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    assert_eq!(second.agreement.context_bytes(Role::Server), 0);
    assert!(second.lease.is_none());
    drop(first);
    assert_eq!(budget.left(), wanted);
}

/// What holds where no parameter is agreed upon.
const PLAIN: Agreement = Agreement {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: Window::MAX,
    client_max_window_bits: Window::MAX,
};

/// The official defaults.
const OFFICIAL: DeflateConfig = DeflateConfig::OFFICIAL;

fn configs() -> [(&'static str, DeflateConfig); 9] {
    let window = |bits| Limit::To(Window::new(bits).unwrap());
    [
        ("official", OFFICIAL),
        ("server alone", DeflateConfig { server_no_context_takeover: Some(true), ..OFFICIAL }),
        ("both alone", DeflateConfig::default()),
        ("server never alone", DeflateConfig { server_no_context_takeover: Some(false), ..OFFICIAL }),
        ("server 10", DeflateConfig { server_max_window_bits: window(10), ..OFFICIAL }),
        ("server refused", DeflateConfig { server_max_window_bits: Limit::Refused, ..OFFICIAL }),
        ("client 10", DeflateConfig { client_max_window_bits: window(10), ..OFFICIAL }),
        ("client refused", DeflateConfig { client_max_window_bits: Limit::Refused, ..OFFICIAL }),
        (
            "all",
            DeflateConfig {
                server_max_window_bits: window(11),
                client_max_window_bits: window(9),
                ..DeflateConfig::default()
            },
        ),
    ]
}

fn header(config: &DeflateConfig, values: &[&str]) -> Option<String> {
    let values = values.iter().map(|value| value.as_bytes());
    config.answer(values, &Budget::new(usize::MAX)).map(|answer| answer.header)
}

/// Offers, and what follows the name in the answers of [`configs`].
const ROWS: [(&str, [&str; 9]); 17] = [
    (
        "permessage-deflate",
        [
            "",
            "; server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover",
            "",
            "; server_max_window_bits=10",
            "",
            "declined",
            "",
            "declined",
        ],
    ),
    (
        "permessage-deflate; client_max_window_bits",
        [
            "",
            "; server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover",
            "",
            "; server_max_window_bits=10",
            "",
            "; client_max_window_bits=10",
            "",
            "; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ],
    ),
    (
        "permessage-deflate; client_max_window_bits=10",
        [
            "; client_max_window_bits=10",
            "; client_max_window_bits=10; server_no_context_takeover",
            "; client_max_window_bits=10; server_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits=10",
            "; client_max_window_bits=10; server_max_window_bits=10",
            "; client_max_window_bits=10",
            "; client_max_window_bits=10",
            "",
            "; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ],
    ),
    (
        "permessage-deflate; server_max_window_bits=10",
        [
            "; server_max_window_bits=10",
            "; server_max_window_bits=10; server_no_context_takeover",
            "; server_max_window_bits=10; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=10",
            "; server_max_window_bits=10",
            "declined",
            "declined",
            "; server_max_window_bits=10",
            "declined",
        ],
    ),
    (
        "permessage-deflate; server_max_window_bits=8",
        [
            "; server_max_window_bits=8",
            "; server_max_window_bits=8; server_no_context_takeover",
            "; server_max_window_bits=8; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=8",
            "declined",
            "declined",
            "declined",
            "; server_max_window_bits=8",
            "declined",
        ],
    ),
    (
        "permessage-deflate; client_max_window_bits=8",
        [
            "; client_max_window_bits=8",
            "; client_max_window_bits=8; server_no_context_takeover",
            "; client_max_window_bits=8; server_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits=8",
            "; client_max_window_bits=8; server_max_window_bits=10",
            "; client_max_window_bits=8",
            "declined",
            "",
            "declined",
        ],
    ),
    (
        "permessage-deflate; server_no_context_takeover",
        [
            "; server_no_context_takeover",
            "; server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover",
            "declined",
            "; server_no_context_takeover; server_max_window_bits=10",
            "; server_no_context_takeover",
            "declined",
            "; server_no_context_takeover",
            "declined",
        ],
    ),
    (
        "permessage-deflate; client_no_context_takeover",
        [
            "; client_no_context_takeover",
            "; client_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover",
            "; client_no_context_takeover; server_max_window_bits=10",
            "; client_no_context_takeover",
            "declined",
            "; client_no_context_takeover",
            "declined",
        ],
    ),
    (
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
        [
            "; client_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover; server_no_context_takeover",
            "; client_no_context_takeover; server_no_context_takeover",
            "declined",
            "; client_no_context_takeover; server_no_context_takeover; server_max_window_bits=10",
            "; client_no_context_takeover; server_no_context_takeover",
            "declined",
            "; client_no_context_takeover; server_no_context_takeover",
            "declined",
        ],
    ),
    (
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover",
        [
            "; server_max_window_bits=12; client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=12; client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=12; client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover",
            "declined",
            "; server_max_window_bits=10; client_max_window_bits=11; server_no_context_takeover; client_no_context_takeover",
            "declined",
            "; server_max_window_bits=12; client_max_window_bits=10; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=12; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=11; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover",
        ],
    ),
    (
        "permessage-deflate; client_max_window_bits=\"10\"",
        [
            "; client_max_window_bits=10",
            "; client_max_window_bits=10; server_no_context_takeover",
            "; client_max_window_bits=10; server_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits=10",
            "; client_max_window_bits=10; server_max_window_bits=10",
            "; client_max_window_bits=10",
            "; client_max_window_bits=10",
            "",
            "; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ],
    ),
    (
        "permessage-deflate; client_max_window_bits=\"1\\0\"",
        [
            "; client_max_window_bits=10",
            "; client_max_window_bits=10; server_no_context_takeover",
            "; client_max_window_bits=10; server_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits=10",
            "; client_max_window_bits=10; server_max_window_bits=10",
            "; client_max_window_bits=10",
            "; client_max_window_bits=10",
            "",
            "; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ],
    ),
    (
        "permessage-deflate;client_max_window_bits;server_max_window_bits=15",
        [
            "; server_max_window_bits=15",
            "; server_max_window_bits=15; server_no_context_takeover",
            "; server_max_window_bits=15; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=15",
            "; server_max_window_bits=10",
            "declined",
            "; client_max_window_bits=10; server_max_window_bits=15",
            "; server_max_window_bits=15",
            "; client_max_window_bits=9; server_max_window_bits=11; server_no_context_takeover; client_no_context_takeover",
        ],
    ),
    (
        "x-foo, permessage-deflate",
        [
            "",
            "; server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover",
            "",
            "; server_max_window_bits=10",
            "",
            "declined",
            "",
            "declined",
        ],
    ),
    (
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        [
            "; server_max_window_bits=10",
            "; server_max_window_bits=10; server_no_context_takeover",
            "; server_max_window_bits=10; server_no_context_takeover; client_no_context_takeover",
            "; server_max_window_bits=10",
            "; server_max_window_bits=10",
            "",
            "declined",
            "; server_max_window_bits=10",
            "declined",
        ],
    ),
    (
        "permessage-deflate\t;\tclient_max_window_bits=9",
        [
            "; client_max_window_bits=9",
            "; client_max_window_bits=9; server_no_context_takeover",
            "; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits=9",
            "; client_max_window_bits=9; server_max_window_bits=10",
            "; client_max_window_bits=9",
            "declined",
            "",
            "; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ],
    ),
    (
        "permessage-deflate; client_max_window_bits=15",
        [
            "; client_max_window_bits=15",
            "; client_max_window_bits=15; server_no_context_takeover",
            "; client_max_window_bits=15; server_no_context_takeover; client_no_context_takeover",
            "; client_max_window_bits=15",
            "; client_max_window_bits=15; server_max_window_bits=10",
            "; client_max_window_bits=15",
            "; client_max_window_bits=10",
            "",
            "; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ],
    ),
];
