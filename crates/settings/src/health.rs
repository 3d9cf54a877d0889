//! `[upstream.NAME.health]`: how it is known who serves.

use std::num::NonZero;
use std::time::Duration;

use sockeye_edge::config::{Check, Health, Probe};

use crate::desk::{Desk, Sheet, words};
use crate::keys::HEALTH;
use crate::tree::Value;

/// The health check of a group.
pub(crate) fn health(desk: &mut Desk<'_>, upstream: &Sheet<'_>, plain: Health) -> Health {
    let Some(node) = upstream.node("health") else { return plain };
    let key = upstream.key("health");
    if !matches!(node.value, Value::Table(_)) {
        let check = words(node).and_then(|text| check(&text));
        if check.is_none() {
            desk.refuse(&key, node, format!("expected {EXPECTED}, or a table"));
        }
        return Health { check: check.unwrap_or_default(), ..plain };
    }
    let Some(sheet) = desk.open(&key, node, &HEALTH) else { return plain };
    let mut wanted = sheet.read(desk, "check", EXPECTED, check).unwrap_or(plain.check);
    if let Some(status) =
        sheet.read(desk, "status", "a status such as 200, or a range such as \"200-399\"", status)
    {
        match &mut wanted {
            Check::Http(probe) => probe.status = status,
            Check::Off | Check::Connect => {
                let node = sheet.node("status").expect("it was read");
                desk.refuse(
                    &sheet.key("status"),
                    node,
                    "this needs a request: set check, for example to \"HEAD /health\"",
                );
            }
        }
    }
    let times = Duration::from_millis(50)..=Duration::from_secs(3600);
    let count = |number: Option<u16>, plain| number.and_then(NonZero::new).unwrap_or(plain);
    Health {
        check: wanted,
        interval: sheet.span(desk, "interval", times.clone()).unwrap_or(plain.interval),
        timeout: sheet.span(desk, "timeout", times).unwrap_or(plain.timeout),
        rise: count(sheet.number(desk, "rise", 1..=1000), plain.rise),
        fall: count(sheet.number(desk, "fall", 1..=1000), plain.fall),
        slow_start: sheet
            .span(desk, "slow_start", Duration::ZERO..=Duration::from_secs(86_400))
            .unwrap_or(plain.slow_start),
    }
}

fn check(text: &str) -> Option<Check> {
    match text {
        "off" => return Some(Check::Off),
        "connect" | "tcp" => return Some(Check::Connect),
        _ => {}
    }
    let (method, path) = text.split_once(' ').unwrap_or(("HEAD", text));
    let known = ["GET", "HEAD", "OPTIONS"].contains(&method);
    let path = path.trim();
    (known && path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
        .then(|| Check::Http(Probe { method: method.to_owned(), path: path.to_owned(), ..Probe::default() }))
}

fn status(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    ((100..=599).contains(&low) && (low..=599).contains(&high)).then_some((low, high))
}

const EXPECTED: &str = "\"off\", \"connect\", or a request such as \"HEAD /health\"";
