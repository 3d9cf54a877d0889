//! What must hold for any file of a balancer that the doctor is shown.

use sockeye_doctor::config::examine;

/// Whatever it is taken for, each finding names a line that there is, and has something to say.
pub fn doctor(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.matches('\n').count() + 1;
    for name in ["nginx.conf", "haproxy.cfg", "httpd.conf", "compose.yml", "app.js", "unknown"] {
        let Ok(report) = examine(name, &text) else { continue };
        for finding in &report.findings {
            assert!(finding.line.is_none_or(|line| (1..=lines).contains(&line)), "{name}: {finding:?}");
            assert!(!finding.seen.is_empty(), "{name}: {finding:?}");
        }
    }
}
