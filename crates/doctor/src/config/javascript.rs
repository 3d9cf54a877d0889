//! JavaScript of apps, pages and pm2's ecosystem files: lines with known words. It is no parser, and says so by its hints.

use crate::report::Finding;
use crate::rule;

pub(super) fn examine(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let uses = |word: &str| text.contains(word);
    let mut once = |rule, line, seen: &str| {
        if !findings.iter().any(|finding: &Finding| finding.rule == rule) {
            findings.push(Finding::at(rule, line, seen.trim()));
        }
    };
    for (index, whole) in text.lines().enumerate() {
        let line = whole.trim();
        if line.starts_with("//") || line.starts_with('*') {
            continue;
        }
        let squeezed: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        if line.contains("@socket.io/sticky")
            || line.contains("setupMaster(")
            || line.contains("sticky-session")
        {
            once(rule::NODE_STICKY, index + 1, line);
        }
        let cluster = squeezed.contains("exec_mode:\"cluster\"") || squeezed.contains("exec_mode:'cluster'");
        let several =
            squeezed.starts_with("instances:") && !squeezed.starts_with("instances:1,") && uses("apps");
        if cluster || several || line.contains("@socket.io/pm2") {
            once(rule::PM2_CLUSTER, index + 1, line);
        }
        if squeezed.contains("location.host+':")
            || squeezed.contains("location.host+\":")
            || line.contains("location.host}:")
        {
            once(rule::SAILS_HOST_PORT, index + 1, line);
        }
    }
    findings
}
