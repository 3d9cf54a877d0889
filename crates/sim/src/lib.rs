//! What checks the house, beside the house: its rules as tests. Only ever a dev-dependency.

pub mod bus;
pub mod fuzz;
pub mod tidy;
