//! What follows from what was seen. Pure.

use super::facts::{Cors, Dialed, Facts, Heard, Hello, Hold, Redirect, Sample};
use crate::report::{Finding, Report};
use crate::rule;
use sockeye_client::Transport;

pub(super) fn judge(facts: &Facts) -> Report {
    let mut report = Report { notes: facts.unseen.clone(), ..Report::default() };
    if let Some(redirect) = &facts.redirect {
        judge_redirect(redirect, &mut report);
    }
    if !judge_hello(facts, &mut report) {
        return report;
    }
    judge_affinity(facts, &mut report);
    judge_websocket(facts, &mut report);
    if let Some(cors) = &facts.cors {
        judge_cors(cors, &mut report);
    }
    if let Some(heard) = &facts.broadcast {
        judge_broadcast(heard, &mut report);
    }
    for hold in &facts.holds {
        judge_hold(hold, &mut report);
    }
    report
}

/// Whether there is something to talk to.
fn judge_hello(facts: &Facts, report: &mut Report) -> bool {
    let path = &facts.path;
    let other = facts.right_path.as_ref().map(|right| format!("; Engine.IO answers at {right}"));
    let (rule, seen) = match &facts.hello {
        Hello::Untrusted(why) => {
            report
                .notes
                .push("nothing behind the certificate was looked at: --insecure believes any".to_owned());
            (rule::CERTIFICATE, format!("the certificate is not trusted: {why}"))
        }
        Hello::Greeting(greeting) => {
            let (interval, limit) =
                (greeting.ping_interval.as_secs_f64(), greeting.ping_timeout.as_secs_f64());
            report
                .notes
                .push(format!("Engine.IO 4 at {path}, pings every {interval} s, {limit} s for the answer"));
            let old = if facts.old_clients { "served" } else { "refused" };
            report.notes.push(format!("clients of Socket.IO 2 (EIO=3) are {old}"));
            return true;
        }
        Hello::NoPolling => {
            report.notes.push(format!("Engine.IO 4 at {path}, without polling"));
            return true;
        }
        Hello::Old => (rule::VERSION, format!("the server at {path} speaks Engine.IO 3 (Socket.IO 2)")),
        Hello::Refused(why) => (rule::VERSION, format!("the handshake at {path} is refused: {why}")),
        Hello::Other(what) => (rule::PATH, format!("{path} answers {what}{}", other.unwrap_or_default())),
        Hello::Nothing => (rule::PATH, format!("{path} answers nothing{}", other.unwrap_or_default())),
    };
    report.findings.push(Finding::seen(rule, seen));
    false
}

fn judge_affinity(facts: &Facts, report: &mut Report) {
    let Some(sample) = &facts.with_cookies else { return };
    if let (count @ 1.., Some(why)) = &sample.failed {
        report.notes.push(format!("{count} requests failed otherwise, one of them with: {why}"));
    }
    if sample.lost > 0 {
        let Sample { lost, sessions, .. } = sample;
        let cookies =
            if sample.cookies.is_empty() { ", and no cookie is set" } else { ", cookies sent back" };
        let seen = format!(
            "{lost} of {sessions} sessions met a server that does not know them (400 \"Session ID unknown\"){cookies}"
        );
        report.findings.push(Finding::seen(rule::AFFINITY, seen));
        return;
    }
    report.notes.push(format!(
        "{} sessions by polling, each request on a connection of its own: none was lost",
        sample.sessions
    ));
    let Some(without) = facts.without_cookies.as_ref().filter(|without| without.lost > 0) else { return };
    let names: Vec<&str> = sample.cookies.iter().map(|cookie| cookie.name.as_str()).collect();
    let seen = format!(
        "without the cookie {} {} of {} sessions are lost",
        names.join(", "),
        without.lost,
        without.sessions
    );
    report.findings.push(Finding::seen(rule::CREDENTIALS, seen));
    // Whoever allows credentials to pages of other origins expects cookies from there.
    let cross_site = facts.cors.as_ref().is_some_and(|cors| cors.credentials || cors.given);
    for cookie in
        sample.cookies.iter().filter(|cookie| cross_site && !(cookie.secure && cookie.same_site_none))
    {
        let lacks = match (cookie.same_site_none, cookie.secure) {
            (false, false) => "neither SameSite=None nor Secure",
            (false, true) => "no SameSite=None",
            (true, _) => "no Secure",
        };
        let seen = format!("the cookie {} has {lacks}", cookie.name);
        report.findings.push(Finding::seen(rule::COOKIE_CROSS_SITE, seen));
    }
}

fn judge_websocket(facts: &Facts, report: &mut Report) {
    if let Hello::Greeting(greeting) = &facts.hello
        && !greeting.upgrades.iter().any(|name| name == "websocket")
    {
        report.notes.push("the server offers no WebSocket (`transports` or `allowUpgrades`)".to_owned());
    }
    match &facts.websocket {
        Some(Dialed::Refused(why)) => {
            let seen = format!("a WebSocket is answered with {why}");
            return report.findings.push(Finding::seen(rule::UPGRADE, seen));
        }
        Some(Dialed::Unknown) => {
            return report.findings.push(Finding::seen(
                rule::UPGRADE,
                "a WebSocket without a session is answered as if it had one",
            ));
        }
        Some(Dialed::Open) | None => {}
    }
    let Some(sample) = &facts.with_cookies else { return };
    let tried = sample.websocket_tried;
    if sample.websocket_lost > 0 {
        let seen =
            format!("{} of {tried} sessions were unknown where their WebSocket went", sample.websocket_lost);
        report.findings.push(Finding::seen(rule::UPGRADE_AFFINITY, seen));
    } else if let (count @ 1.., Some(why)) = &sample.websocket_refused {
        let seen = format!("{count} of {tried} sessions could not move to a WebSocket: {why}");
        report.findings.push(Finding::seen(rule::UPGRADE, seen));
    } else if tried > 0 {
        report.notes.push(format!("{tried} sessions could move to a WebSocket"));
    }
}

fn judge_cors(cors: &Cors, report: &mut Report) {
    let Cors { asked, given, allows, credentials } = cors;
    match allows.as_deref() {
        Some("*") if *credentials => {
            let seen = "Access-Control-Allow-Origin: * with Access-Control-Allow-Credentials: true";
            report.findings.push(Finding::seen(rule::CORS_CREDENTIALS, seen));
        }
        Some("*") => {}
        Some(allowed) if allowed == asked => {}
        Some(allowed) if *given => {
            let seen = format!("a page of {asked} is told that {allowed} is allowed");
            report.findings.push(Finding::seen(rule::CORS_ORIGIN, seen));
        }
        None if *given => {
            let seen = format!("a page of {asked} is told of no origin that is allowed");
            report.findings.push(Finding::seen(rule::CORS_ORIGIN, seen));
        }
        Some(_) | None => {}
    }
}

fn judge_redirect(redirect: &Redirect, report: &mut Report) {
    let Redirect { port, status, location, wanted } = redirect;
    let seen = match location {
        Some(location) if matches!(status, 301 | 302 | 307 | 308) => {
            if location == wanted {
                return report.notes.push(format!("port {port} sends people to HTTPS"));
            }
            format!("port {port} sends people to {location}, expected {wanted}")
        }
        Some(_) | None => format!("port {port} answers {status} instead of sending people to HTTPS"),
    };
    report.findings.push(Finding::seen(rule::HTTPS_REDIRECT, seen));
}

fn judge_broadcast(heard: &Heard, report: &mut Report) {
    let Heard { clients, pairs, themselves, problem } = heard;
    let all = clients * clients.saturating_sub(1);
    if let Some(problem) = problem {
        report.notes.push(format!("not every client could take part in the broadcast: {problem}"));
    }
    if all == 0 {
        report.notes.push("who hears what others say could not be measured".to_owned());
    } else if *pairs == all {
        report.notes.push(format!("{clients} clients, each heard each"));
    } else if *pairs > 0 || *themselves > 0 {
        let seen =
            format!("of {clients} clients that spoke in turn, {pairs} of {all} pairs heard each other");
        report.findings.push(Finding::seen(rule::ONE_WAY, seen));
    } else {
        report.notes.push(
            "nobody heard the expected event, not even who spoke: is it what the app answers?".to_owned(),
        );
    }
}

fn judge_hold(hold: &Hold, report: &mut Report) {
    let (alive, interval) = (hold.alive.as_secs_f64(), hold.ping_interval.as_secs_f64());
    let needed = interval + hold.ping_timeout.as_secs_f64();
    let (rule, what) = match hold.transport {
        Transport::WebSocket => (rule::IDLE, "an idle WebSocket"),
        Transport::Polling => (rule::POLLING_IDLE, "an idle client on polling"),
    };
    match &hold.ended {
        Some(why) => {
            // The last ping came when the time between two was over.
            let silent = if alive < interval || interval <= 0.0 { alive } else { alive % interval };
            let seen = format!(
                "{what} ended after {alive:.1} s, {silent:.1} s after it was last used ({why}); pings come every {interval} s, so {needed} s of silence have to be possible"
            );
            report.findings.push(Finding::seen(rule, seen));
        }
        None if alive < interval => report.notes.push(format!(
            "{what} lived for {alive:.0} s; whether {interval} s, the time between two pings, is possible was not measured: --seconds {:.0}",
            interval + 5.0
        )),
        None => report.notes.push(format!("{what} lived for {alive:.0} s, over pings {interval} s apart; more silence than that cannot be measured from outside")),
    }
}

#[cfg(test)]
mod tests;
