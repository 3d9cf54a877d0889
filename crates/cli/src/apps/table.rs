//! How the list reads for a person: pm2's columns. Pure.

use std::fmt::Write;

use super::rows::Row;

const HEAD: [&str; 12] =
    ["id", "name", "namespace", "mode", "pid", "uptime", "↺", "status", "cpu", "mem", "user", "watching"];

/// A line an instance, under a line of names.
pub(crate) fn list(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(cells));
    align(&lines)
}

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.id.to_string(),
        row.name.clone(),
        row.namespace.clone(),
        row.mode.to_owned(),
        row.pid.unwrap_or_default().to_string(),
        row.uptime.map_or_else(|| "0".to_owned(), age),
        row.restarts.to_string(),
        row.status.clone(),
        format!("{}%", row.cpu),
        bytes(row.memory),
        row.user.clone(),
        if row.watching { "enabled" } else { "disabled" }.to_owned(),
    ]
}

/// Columns as wide as their widest cell.
pub(crate) fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(row, "{cell:width$}  ");
        }
        text.push_str(row.trim_end());
        if index + 1 < lines.len() {
            text.push('\n');
        }
    }
    text
}

/// Milliseconds as pm2 writes them: `5s`, `3m`, `2h`, `1D`.
pub(crate) fn age(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}D", seconds / 86_400),
    }
}

/// Bytes as pm2 writes them: `64.2mb`.
pub(crate) fn bytes(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0 => "0b".to_owned(),
        1..1024 => format!("{bytes}b"),
        1024..1_048_576 => format!("{:.1}kb", number / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1}mb", number / 1_048_576.0),
        _ => format!("{:.1}gb", number / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_as_with_pm2() {
        for (millis, text) in
            [(999, "0s"), (59_999, "59s"), (60_000, "1m"), (7_200_000, "2h"), (172_800_000, "2D")]
        {
            assert_eq!(age(millis), text);
        }
        for (number, text) in
            [(0, "0b"), (512, "512b"), (2048, "2.0kb"), (67_318_579, "64.2mb"), (1 << 31, "2.0gb")]
        {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let lines =
            [vec!["id".to_owned(), "↺".to_owned(), "x".to_owned()], vec!["1".to_owned(), "12".to_owned()]];
        assert_eq!(align(&lines), "id  ↺   x\n1   12");
        assert_eq!(list(&[]), "id  name  namespace  mode  pid  uptime  ↺  status  cpu  mem  user  watching");
    }
}
