//! Finds what is wrong with a Socket.IO deployment, ours or not: [`live`] asks it, as clients do; [`config`] reads the files of the
//! balancers before it, for what no client can see.
//!
//! What was seen and what follows from it are apart: `live::Facts` are gathered over the network, judged without it.
//!
//! ```
//! use sockeye_doctor::config;
//!
//! let report = config::examine("nginx.conf", "http { upstream a { ip_hash; server b:1; } }").unwrap();
//! assert_eq!(report.findings[0].rule.id(), "nginx-ip-hash");
//! ```

pub mod config;
pub mod live;
mod report;
mod rule;

pub use report::{Finding, Report};
pub use rule::{Rule, Weight};
