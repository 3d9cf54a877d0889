//! Process files of pm2: its ecosystem as `.config.js`, `.config.cjs`, `.config.mjs`, `.json` and `.yaml`. What they mean with the environment, and
//! `sockeye.toml`, is the matter of `settings`.

mod pm2;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use sockeye_supervisor::AppSpec;

use crate::exit;

/// The largest process file; a larger one is refused.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Whether a path is that of a process file, by its ending.
pub(crate) fn is_process_file(path: &Path) -> bool {
    path.is_file() && (is_ecosystem(path) || path.extension().is_some_and(|ending| ending == "toml"))
}

/// Whether a path is that of a file of pm2, by its ending.
pub(crate) fn is_ecosystem(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let endings = [".json", ".yaml", ".yml", ".config.js", ".config.cjs", ".config.mjs"];
    endings.iter().any(|ending| name.ends_with(ending))
}

/// The apps of a file of pm2, with their names. What is not understood is said aloud, and passed over.
pub(crate) fn read(path: &Path, profile: Option<&str>) -> anyhow::Result<Vec<(String, AppSpec)>> {
    let value = value(path).with_context(|| format!("cannot read {}", path.display()))?;
    let pm2::Read { apps, warnings } =
        pm2::read(&value, profile).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    for warning in warnings {
        exit::complain(exit::OK, &format!("{}: {warning}", path.display()));
    }
    Ok(apps)
}

fn value(path: &Path) -> anyhow::Result<Value> {
    let size = std::fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        bail!("expected at most {FILE_BYTES_MAX} bytes, got {size}");
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?),
        Some("yaml" | "yml") => Ok(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?),
        _ => evaluate(path),
    }
}

/// A script is what its own Node.js says it is.
fn evaluate(path: &Path) -> anyhow::Result<Value> {
    const SCRIPT: &str = "import(require('url').pathToFileURL(process.argv[1])).then(m => { const v = m.default ?? m; \
         process.stdout.write('\\n' + JSON.stringify(v)) }, e => { console.error(e); process.exit(1) })";
    let output = Command::new("node")
        .args(["-e", SCRIPT, "--"])
        .arg(path)
        .output()
        .context("cannot run node, which such a file needs")?;
    if !output.status.success() {
        bail!("node says: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // What the file itself writes comes before.
    let json = text.rsplit('\n').next().unwrap_or_default();
    serde_json::from_str(json).context("expected module.exports to be an object")
}
