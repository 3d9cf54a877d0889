//! A signal by its name or number.

use std::fmt;
use std::str::FromStr;

use rustix::process::Signal;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// A signal that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopSignal(Signal);

/// Those that make sense between programs.
const NAMES: [(&str, Signal); 17] = [
    ("SIGHUP", Signal::HUP),
    ("SIGINT", Signal::INT),
    ("SIGQUIT", Signal::QUIT),
    ("SIGABRT", Signal::ABORT),
    ("SIGKILL", Signal::KILL),
    ("SIGUSR1", Signal::USR1),
    ("SIGUSR2", Signal::USR2),
    ("SIGPIPE", Signal::PIPE),
    ("SIGALRM", Signal::ALARM),
    ("SIGTERM", Signal::TERM),
    ("SIGCHLD", Signal::CHILD),
    ("SIGCONT", Signal::CONT),
    ("SIGSTOP", Signal::STOP),
    ("SIGTSTP", Signal::TSTP),
    ("SIGTTIN", Signal::TTIN),
    ("SIGTTOU", Signal::TTOU),
    ("SIGWINCH", Signal::WINCH),
];

impl StopSignal {
    /// SIGINT, as pm2 stops.
    pub const INT: Self = Self(Signal::INT);

    /// SIGTERM, as systems stop.
    pub const TERM: Self = Self(Signal::TERM);

    /// Its name, with `SIG`.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, signal)| *signal == self.0).map_or("SIGINT", |(name, _)| *name)
    }

    /// The system's own.
    #[must_use]
    pub const fn signal(self) -> Signal {
        self.0
    }
}

impl FromStr for StopSignal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let word = text.to_ascii_uppercase();
        let number: Option<i32> = text.parse().ok();
        NAMES
            .iter()
            .find(|(name, signal)| {
                *name == word || name[3..] == *word || number.is_some_and(|number| signal.as_raw() == number)
            })
            .map(|(_, signal)| Self(*signal))
            .ok_or_else(|| format!("expected a signal such as SIGINT or SIGTERM, got {text}"))
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for StopSignal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StopSignal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = StopSignal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a signal such as SIGINT")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<StopSignal, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_three_spellings() {
        for said in ["SIGTERM", "term", "15"] {
            assert_eq!(said.parse(), Ok(StopSignal::TERM), "{said}");
        }
        assert_eq!(StopSignal::INT.to_string(), "SIGINT");
        for wrong in ["", "SIG", "SIGNOPE", "0", "99", "-15"] {
            assert!(wrong.parse::<StopSignal>().is_err(), "{wrong}");
        }
    }
}
