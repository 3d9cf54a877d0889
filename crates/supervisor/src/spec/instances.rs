//! How many workers: a number, one a core, or some fewer.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// The most workers of one app.
pub const INSTANCES_MAX: u32 = 1024;

/// How many workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One a core.
    Max,
    /// So many.
    Exactly(NonZeroU32),
    /// One a core, but for so many.
    AllBut(u32),
}

impl Instances {
    /// The number on a machine with that many cores: at least one.
    #[must_use]
    pub fn on(self, cores: NonZeroUsize) -> NonZeroU32 {
        let cores = u32::try_from(cores.get()).unwrap_or(u32::MAX).min(INSTANCES_MAX);
        let number = match self {
            Self::Max => cores,
            Self::Exactly(number) => number.get(),
            Self::AllBut(less) => cores.saturating_sub(less),
        };
        NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
    }
}

impl FromStr for Instances {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_prefix('-') {
            Some(less) => less.parse().ok().filter(|less| *less != 0).map(Self::AllBut),
            None if text == "max" => Some(Self::Max),
            None => text.parse().ok().filter(|n: &NonZeroU32| n.get() <= INSTANCES_MAX).map(Self::Exactly),
        };
        parsed.ok_or_else(|| format!("expected max, -1 or a number from 1 to {INSTANCES_MAX}, got {text}"))
    }
}

impl fmt::Display for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Exactly(number) => number.fmt(f),
            Self::AllBut(less) => write!(f, "-{less}"),
        }
    }
}

impl Serialize for Instances {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instances {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl Visitor<'_> for Words {
            type Value = Instances;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("max, -1 or a number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Instances, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Instances, E> {
                number.to_string().parse().map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Instances, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_means_a_number_of_workers() {
        for (cores, said, expected) in
            [(8, "max", 8), (8, "-1", 7), (1, "-1", 1), (4, "-9", 1), (8, "3", 3), (2, "8", 8)]
        {
            let instances: Instances = said.parse().unwrap();
            assert_eq!(instances.on(NonZeroUsize::new(cores).unwrap()).get(), expected, "{said} on {cores}");
            assert_eq!(instances.to_string(), said);
        }
        for wrong in ["0", "-0", "1025", "", "many"] {
            assert!(wrong.parse::<Instances>().is_err(), "{wrong}");
        }
    }
}
