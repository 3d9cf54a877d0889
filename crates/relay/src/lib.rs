//! Carries one HTTP request, or one upgrade, to another address and brings the answer back.
//!
//! The edge uses it to reach workers, a node uses it for requests whose session lives elsewhere. It knows HTTP/1.1, Unix and TCP addresses,
//! kept-alive connections and tunnels. It does not choose who is asked, knows nothing of Socket.IO, follows no redirect, caches nothing and
//! never repeats what might have had an effect.
//!
//! ```no_run
//! # async fn example(request: http::Request<hyper::body::Incoming>) -> Result<(), sockeye_relay::RelayError> {
//! use sockeye_relay::{Address, Config, Origin, Relay};
//!
//! let relay = Relay::new(Config::default());
//! let worker = Address::Unix("/run/sockeye/http/a1b2c3.sock".into());
//! let client = "192.0.2.7:50000".parse().expect("an address");
//! let answer = relay.request(&worker, request, &Origin::new(client)).await?;
//! # drop(answer); Ok(()) }
//! ```

mod address;
mod answer;
mod body;
mod config;
mod cord;
mod error;
mod headers;
mod idle;
mod lane;
mod node;
mod origin;
mod relay;
mod secret;
mod socket;
mod tally;
mod tls;
mod trust;
mod tunnel;
mod wire;

pub use address::Address;
pub use body::{Body, BoxError};
pub use config::Config;
pub use cord::{Cord, Moment};
pub use error::{Breach, RelayError, is_nobody};
pub use headers::{PEER, RELAYED};
pub use node::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, NodeListener};
pub use origin::Origin;
pub use relay::{Relay, Stats, Upstream};
pub use secret::{NoSecret, SECRET_BYTES_MIN, Secret};
pub use socket::{Rewind, Socket};
pub use tls::{NoTls, NodeTls};
pub use trust::NodeTrust;
pub use tunnel::{End, Stream};
pub use wire::Wire;
