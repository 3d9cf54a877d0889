//! The checks, by what they are about.

pub(crate) mod faults;
pub(crate) mod messages;
pub(crate) mod offsets;
pub(crate) mod presence;
pub(crate) mod rooms;
pub(crate) mod sessions;
