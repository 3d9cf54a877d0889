//! A world in which two names are known.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::Path;

use sockeye_settings::{Facts, Fault, Look, Resolve, Settled, Thing, settle, unseen};

/// What a file and variables mean, or what is told.
pub(crate) fn with(text: &str, variables: &[(&str, &str)]) -> Result<Settled, String> {
    let variables: Vec<_> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let resolve = |name: &str, port| match name {
        "app01" => Ok(vec![([10, 0, 0, 1], port).into()]),
        "app02" => Ok(vec![([10, 0, 0, 2], port).into()]),
        _ => Err("no such name".to_owned()),
    };
    looked(text, &variables, &resolve, &unseen)
}

fn looked(
    text: &str,
    variables: &[(String, String)],
    resolve: Resolve<'_>,
    look: Look<'_>,
) -> Result<Settled, String> {
    let base = Path::new("/etc/sockeye");
    let facts = Facts { base, cores: std::num::NonZeroUsize::MIN, resolve, look };
    settle("f.toml", text, variables, &facts).map_err(|refused| refused.to_string())
}

/// What is told of a file none of whose things can be used.
#[track_caller]
pub(crate) fn refused_where_nothing_is(text: &str) -> String {
    let look = |thing: &Thing<'_>| {
        let key = match thing {
            Thing::Certificate(_) => "key",
            Thing::App { .. } => "command",
            Thing::Token(_) | Thing::Log(_) | Thing::Socket(_) | Thing::Directory(_) | Thing::Watched(_) => {
                ""
            }
        };
        Err(Fault { key: key.to_owned(), message: "cannot be used".to_owned() })
    };
    looked(text, &[], &|_, _| Err("no such name".to_owned()), &look).expect_err(text)
}

/// The warnings of a file that means something.
#[track_caller]
pub(crate) fn warned(text: &str) -> Vec<String> {
    settled(text).warnings.iter().map(ToString::to_string).collect()
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
