//! A world in which two names are known.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::Path;

use sockeye_settings::{Facts, Settled, settle};

/// What a file and variables mean, or what is told.
pub(crate) fn with(text: &str, variables: &[(&str, &str)]) -> Result<Settled, String> {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let resolve = |name: &str, port| match name {
        "app01" => Ok(vec![([10, 0, 0, 1], port).into()]),
        "app02" => Ok(vec![([10, 0, 0, 2], port).into()]),
        _ => Err("no such name".to_owned()),
    };
    let facts =
        Facts { base: Path::new("/etc/sockeye"), cores: std::num::NonZeroUsize::MIN, resolve: &resolve };
    settle("f.toml", text, &variables, &facts).map_err(|refused| refused.to_string())
}

/// What a file means.
#[track_caller]
pub(crate) fn settled(text: &str) -> Settled {
    with(text, &[]).unwrap_or_else(|told| panic!("{told}"))
}

/// What is told of a file that means nothing.
#[track_caller]
pub(crate) fn refused(text: &str) -> String {
    with(text, &[]).expect_err(text)
}
