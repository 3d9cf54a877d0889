//! The name of a namespace's channel: `socket.io#/admin`.

use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::AdapterError;

/// The longest name that PostgreSQL takes, in bytes (`NAMEDATALEN` - 1).
const NAME_BYTES_MAX: usize = 63;

/// Names a namespace's channel.
///
/// # Errors
///
/// Refuses what PostgreSQL cannot name: `LISTEN` would cut it short, and `NOTIFY` fail.
pub(crate) fn name(prefix: &str, nsp: &Nsp) -> Result<String, AdapterError> {
    let name = format!("{prefix}#{nsp}");
    if name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(AdapterError::Refused(format!(
            "the channel {name:?} has {} bytes, PostgreSQL takes {NAME_BYTES_MAX} and no NUL: shorten the namespace or channel_prefix",
            name.len()
        )));
    }
    Ok(name)
}

/// Quotes a channel's name for `LISTEN`, whatever the namespace is called.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_cannot_leave_its_quotes() {
        assert_eq!(quoted("socket.io#/"), "\"socket.io#/\"");
        assert_eq!(quoted("x#/a\"; DROP TABLE b; --"), "\"x#/a\"\"; DROP TABLE b; --\"");
    }

    #[test]
    fn a_name_that_would_be_cut_short_is_refused() {
        let long = "/".repeat(63 - "socket.io#".len());
        assert!(name("socket.io", &Nsp::new(&long)).is_ok());
        for nsp in [format!("{long}x"), "/\0".to_owned()] {
            assert!(matches!(name("socket.io", &Nsp::new(&nsp)), Err(AdapterError::Refused(_))), "{nsp}");
        }
    }
}
