//! Where servers are looked for: a file that is read again when it changes, a name that is resolved again and again.
//!
//! What cannot be read or resolved changes nothing: the last list stays.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;
use tracing::{info, warn};

use super::dns::{self, Tell};
use crate::config::{Members, Server};
use crate::roster::parse_servers;

/// Starts to look for servers. The task ends with them, or when it is aborted.
pub(super) fn seek(tell: Tell, members: &Members) -> AbortHandle {
    let task = match members {
        Members::File(path) => tokio::spawn(watch_file(tell, path.clone())),
        Members::Dns { name, record, every } => {
            tokio::spawn(dns::resolve(tell, dns::Asked::new(name, *record), *every))
        }
        Members::Workers { .. }
        | Members::Static(_)
        | Members::Registered { .. }
        | Members::Directory { .. } => tokio::spawn(std::future::ready(())),
    };
    task.abort_handle()
}

async fn watch_file(tell: Tell, path: PathBuf) {
    let mut seen = None;
    let mut faulty = false;
    loop {
        let look = (path.clone(), seen);
        // Files block: a thread for such work looks.
        let looked = tokio::task::spawn_blocking(move || look_at(&look.0, look.1)).await;
        match looked {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((mark, servers_now)))) => {
                (seen, faulty) = (Some(mark), false);
                info!(file = %path.display(), servers = servers_now.len(), "list of servers read");
                if !tell(servers_now) {
                    return;
                }
            }
            Ok(Err((mark, fault))) => {
                if mark.is_some() || !faulty {
                    warn!(file = %path.display(), fault, "list of servers not taken: the last one stays");
                }
                (seen, faulty) = (mark.or(seen), true);
            }
            Err(_panicked) => return,
        }
        tokio::time::sleep(FILE_PAUSE).await;
    }
}

/// What tells one state of a file from another.
type Mark = (SystemTime, u64);

/// Why a file gives no list, and what state it is in, if that is known.
type Fault = (Option<Mark>, String);

/// The list, if the file is another than it was.
fn look_at(path: &Path, seen: Option<Mark>) -> Result<Option<(Mark, Vec<Server>)>, Fault> {
    let metadata = std::fs::metadata(path).map_err(|error| (None, error.to_string()))?;
    let mark = (metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len());
    if seen == Some(mark) {
        return Ok(None);
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err((Some(mark), format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| (Some(mark), error.to_string()))?;
    let list = parse_servers(&text).map_err(|error| (Some(mark), error.to_string()))?;
    Ok(Some((mark, list)))
}

/// The pause between two looks at a file.
const FILE_PAUSE: Duration = Duration::from_millis(500);
/// The largest list of servers.
const FILE_BYTES_MAX: u64 = 1 << 20;
