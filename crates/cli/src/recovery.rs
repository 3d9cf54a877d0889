//! Whether clients of the bundled workers go on where they were: settled by `up`, told to the workers by their environment, and read there.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::anyhow;
use sockeye::Recovery;

use crate::flags;

/// How many seconds a client may be away; `0`: its session ends with its connection.
const VARIABLE: &str = "SOCKEYE_RECOVERY";

/// What was typed or written, or else what the environment says. `None`: nothing does.
pub(crate) fn settle(
    said: Option<Duration>,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<Duration>> {
    let text = variable(VARIABLE).filter(|text| !text.is_empty() && said.is_none());
    let read = text.map(|text| flags::recovery(&text).map_err(|why| anyhow!("{VARIABLE}={text}: {why}")));
    Ok(said.or(read.transpose()?))
}

/// What the workers are told.
pub(crate) fn environment(settled: Option<Duration>) -> Option<(OsString, OsString)> {
    settled.map(|away| (VARIABLE.into(), away.as_secs().to_string().into()))
}

/// Reads what a worker was told.
pub(crate) fn of_worker() -> anyhow::Result<Option<Recovery>> {
    let away = settle(None, |name| std::env::var(name).ok())?.filter(|away| !away.is_zero());
    Ok(away.map(|max_disconnection_duration| Recovery { max_disconnection_duration, ..Recovery::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_goes_before_what_the_environment_says() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (said, variable, expected) in [
            (None, None, None),
            (None, Some(""), None),
            (None, Some("60"), seconds(60)),
            (seconds(5), Some("60"), seconds(5)),
            (seconds(5), Some("nonsense"), seconds(5)),
            (None, Some("0"), seconds(0)),
        ] {
            let settled = settle(said, |name| variable.filter(|_| name == VARIABLE).map(str::to_owned));
            assert_eq!(settled.unwrap(), expected, "{said:?} {variable:?}");
        }
        for wrong in ["nonsense", "-1", "3601", "1.5"] {
            let error = settle(None, |_| Some(wrong.to_owned())).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("SOCKEYE_RECOVERY={wrong}: expected seconds from 0 (off) to 3600, such as 120")
            );
        }
    }
}
