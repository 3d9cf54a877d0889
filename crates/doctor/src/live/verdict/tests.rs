//! Rows: what was seen, and what is said.

use super::super::facts::{Greeting, SetCookie};
use super::*;
use std::time::Duration;

#[test]
fn a_deployment_without_a_fault_has_none() {
    check(&right(), &[]);
    let no_polling = Facts { hello: Hello::NoPolling, with_cookies: None, ..right() };
    check(&no_polling, &[]);
}

#[test]
fn each_fault_has_its_name() {
    let sample = || Sample { sessions: 20, websocket_tried: 20, ..Sample::default() };
    for (facts, ids) in [
        (Facts { hello: Hello::Old, ..right() }, &["version"][..]),
        (Facts { hello: Hello::Untrusted("it has expired".to_owned()), ..right() }, &["certificate"]),
        (Facts { hello: Hello::Refused("400: Unsupported".to_owned()), ..right() }, &["version"]),
        (
            Facts {
                hello: Hello::Other("404 Not Found".to_owned()),
                right_path: Some("/a/".to_owned()),
                ..right()
            },
            &["path"],
        ),
        (Facts { with_cookies: Some(Sample { lost: 7, ..sample() }), ..right() }, &["affinity"]),
        (
            Facts { with_cookies: Some(Sample { websocket_lost: 7, ..sample() }), ..right() },
            &["upgrade-affinity"],
        ),
        (
            Facts {
                with_cookies: Some(Sample { websocket_refused: (3, Some("502".to_owned())), ..sample() }),
                ..right()
            },
            &["upgrade"],
        ),
        (Facts { websocket: Some(Dialed::Refused("400".to_owned())), ..right() }, &["upgrade"]),
        (Facts { broadcast: Some(heard(12, 6)), ..right() }, &["one-way"]),
        (Facts { broadcast: Some(heard(0, 6)), ..right() }, &["one-way"]),
        (Facts { broadcast: Some(heard(30, 6)), ..right() }, &[]),
        (Facts { broadcast: Some(heard(0, 0)), ..right() }, &[]),
        (Facts { holds: vec![hold(Transport::WebSocket, 15, true)], ..right() }, &["idle"]),
        (Facts { holds: vec![hold(Transport::Polling, 15, true)], ..right() }, &["polling-idle"]),
        (Facts { holds: vec![hold(Transport::WebSocket, 10, false)], ..right() }, &[]),
    ] {
        check(&facts, ids);
    }
}

#[test]
fn what_could_not_be_looked_at_is_said() {
    let facts = Facts { unseen: vec!["port 80 could not be looked at".to_owned()], ..right() };
    assert!(judge(&facts).text().contains("port 80 could not be looked at"));
    let report = judge(&Facts { hello: Hello::Untrusted("it has expired".to_owned()), ..right() });
    assert!(report.findings[0].seen.ends_with("not trusted: it has expired"), "{}", report.text());
    assert!(report.findings[0].rule.fix().contains("--insecure"), "{}", report.text());
    assert!(report.notes.iter().any(|note| note.starts_with("nothing behind")), "{}", report.text());
}

#[test]
fn silence_counts_from_the_last_ping() {
    for (alive, silent) in [(15, "15.0 s after it was last used"), (40, "15.0 s after"), (74, "24.0 s after")]
    {
        let report = judge(&Facts { holds: vec![hold(Transport::WebSocket, alive, true)], ..right() });
        assert!(report.findings[0].seen.contains(silent), "{}", report.findings[0].seen);
    }
    let report = judge(&Facts { holds: vec![hold(Transport::WebSocket, 10, false)], ..right() });
    assert!(
        report.notes.iter().any(|note| note.ends_with("was not measured: --seconds 30")),
        "{:?}",
        report.notes
    );
}

#[test]
fn cookies_that_hold_sessions_together_have_to_be_sent() {
    let cors = |allows: &str, credentials, given| {
        Some(Cors {
            asked: "https://page.example".to_owned(),
            given,
            allows: Some(allows.to_owned()),
            credentials,
        })
    };
    let own = "https://page.example";
    for (secure, same_site_none, cors, ids) in [
        (false, false, None, &["credentials"][..]),
        (false, false, cors(own, false, false), &["credentials"]),
        (false, false, cors(own, true, false), &["credentials", "cookie-cross-site"]),
        (true, false, cors(own, false, true), &["credentials", "cookie-cross-site"]),
        (false, true, cors(own, true, false), &["credentials", "cookie-cross-site"]),
        (true, true, cors(own, true, true), &["credentials"]),
    ] {
        let cookies = vec![SetCookie { name: "SERVERID".to_owned(), secure, same_site_none }];
        let with_cookies = Some(Sample { sessions: 20, cookies: cookies.clone(), ..Sample::default() });
        let without_cookies = Some(Sample { sessions: 20, lost: 9, cookies, ..Sample::default() });
        check(&Facts { with_cookies, without_cookies, cors, ..right() }, ids);
    }
}

#[test]
fn pages_of_other_origins_are_let_in_as_browsers_want_it() {
    for (allows, credentials, given, ids) in [
        (Some("*"), true, false, &["cors-credentials"][..]),
        (Some("*"), false, true, &[]),
        (Some("https://page.example"), true, true, &[]),
        (Some("https://other.example"), true, true, &["cors-origin"]),
        (None, false, true, &["cors-origin"]),
        (None, false, false, &[]),
        (Some("https://other.example"), true, false, &[]),
    ] {
        let allows = allows.map(str::to_owned);
        let cors = Some(Cors { asked: "https://page.example".to_owned(), given, allows, credentials });
        check(&Facts { cors, ..right() }, ids);
    }
}

#[test]
fn http_sends_people_to_https_with_all_that_they_asked_for() {
    let wanted = "https://a.example/socket.io/?doctor=1";
    for (status, location, ids) in [
        (301, Some(wanted), &[][..]),
        (308, Some(wanted), &[]),
        (301, Some("https://a.example:12345/socket.io/?doctor=1"), &["https-redirect"]),
        (301, Some("https://a.example/"), &["https-redirect"]),
        (200, None, &["https-redirect"]),
        (404, None, &["https-redirect"]),
    ] {
        let location = location.map(str::to_owned);
        let redirect = Some(Redirect { port: 80, status, location, wanted: wanted.to_owned() });
        check(&Facts { redirect, ..right() }, ids);
    }
}

fn right() -> Facts {
    Facts {
        path: "/socket.io/".to_owned(),
        hello: Hello::Greeting(Greeting {
            sid: "a".to_owned(),
            upgrades: vec!["websocket".to_owned()],
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
        }),
        websocket: Some(Dialed::Open),
        with_cookies: Some(Sample { sessions: 20, websocket_tried: 20, ..Sample::default() }),
        holds: vec![hold(Transport::WebSocket, 30, false), hold(Transport::Polling, 30, false)],
        ..Facts::default()
    }
}

fn heard(pairs: u32, themselves: u32) -> Heard {
    Heard { clients: 6, pairs, themselves, problem: None }
}

fn hold(transport: Transport, alive: u64, ended: bool) -> Hold {
    Hold {
        transport,
        alive: Duration::from_secs(alive),
        ended: ended.then(|| "transport close".to_owned()),
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
    }
}

#[track_caller]
fn check(facts: &Facts, ids: &[&str]) {
    let report = judge(facts);
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.rule.id()).collect();
    assert_eq!(found, ids, "{}", report.text());
}
