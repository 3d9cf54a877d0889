//! Apache: lines and blocks, and what is wrong in them.

use super::duration::{HEARTBEAT_SECONDS, seconds};
use crate::report::Finding;
use crate::rule;

pub(super) fn examine(text: &str) -> Vec<Finding> {
    let lines: Vec<(usize, String)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim().to_owned()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let mut findings = Vec::new();
    examine_balancers(&lines, &mut findings);
    for (number, line) in &lines {
        examine_line(*number, line, &mut findings);
    }
    examine_modules(&lines, &mut findings);
    findings
}

/// The same servers in a balancer for `http` and in one for `ws`.
fn examine_balancers(lines: &[(usize, String)], findings: &mut Vec<Finding>) {
    let members = |scheme: &str| {
        let member = format!("{scheme}://");
        let is_member =
            move |line: &str| starts(line, "balancermember") && line.to_ascii_lowercase().contains(&member);
        lines.iter().find(|(_, line)| is_member(line)).map(|(number, _)| *number)
    };
    let websocket = members("ws").or_else(|| members("wss"));
    if let (Some(_), Some(number)) = (members("http").or_else(|| members("https")), websocket) {
        let seen = "one balancer of http:// members, another of ws:// members";
        findings.push(Finding::at(rule::APACHE_TWO_BALANCERS, number, seen));
    }
}

fn examine_line(number: usize, line: &str, findings: &mut Vec<Finding>) {
    let lower = line.to_ascii_lowercase();
    if starts(line, "header") && lower.contains("set-cookie") {
        let lacks: Vec<&str> =
            ["secure", "samesite"].into_iter().filter(|word| !lower.contains(word)).collect();
        if !lacks.is_empty() {
            let seen = format!("the route cookie has no {}", lacks.join(", no "));
            findings.push(Finding::at(rule::APACHE_COOKIE, number, seen));
        }
    }
    if starts(line, "proxytimeout")
        && let Some(found) = line.split_whitespace().nth(1).and_then(|text| seconds(text, 1.0))
        && found <= HEARTBEAT_SECONDS
    {
        let seen = format!("{line}, and pings may be {HEARTBEAT_SECONDS} s apart");
        findings.push(Finding::at(rule::APACHE_TIMEOUT, number, seen));
    }
}

/// Modules that directives need, where the file loads modules at all (Debian loads them elsewhere).
fn examine_modules(lines: &[(usize, String)], findings: &mut Vec<Finding>) {
    let loaded: Vec<&str> = lines
        .iter()
        .filter(|(_, line)| starts(line, "loadmodule"))
        .filter_map(|(_, line)| line.split_whitespace().nth(1))
        .collect();
    if loaded.is_empty() {
        return;
    }
    let uses = |word: &str| {
        lines.iter().find(|(_, line)| line.to_ascii_lowercase().contains(word)).map(|(number, _)| *number)
    };
    for (word, modules) in NEEDS {
        let Some(number) = uses(word) else { continue };
        let missing: Vec<&str> = modules.iter().copied().filter(|module| !loaded.contains(module)).collect();
        if !missing.is_empty() {
            let seen = format!("`{word}` needs {}, which is not loaded", missing.join(", "));
            findings.push(Finding::at(rule::APACHE_MODULES, number, seen));
        }
    }
}

fn starts(line: &str, word: &str) -> bool {
    line.split_whitespace().next().is_some_and(|first| first.eq_ignore_ascii_case(word))
}

/// What each directive of the recipe needs.
const NEEDS: [(&str, &[&str]); 7] = [
    ("balancer://", &["proxy_module", "proxy_balancer_module", "slotmem_shm_module"]),
    ("http://", &["proxy_http_module"]),
    ("ws://", &["proxy_wstunnel_module"]),
    ("rewriterule", &["rewrite_module"]),
    ("header ", &["headers_module"]),
    ("lbmethod=byrequests", &["lbmethod_byrequests_module"]),
    ("<virtualhost *:443", &["ssl_module"]),
];
