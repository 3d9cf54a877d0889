//! The limits of everything that waits for Redis.

use std::time::Duration;

/// How long a connection may take to be made, names and passwords included; then it counts as failed.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an answer may take; then the connection counts as lost, and what waited for it as failed.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a connection that only listens asks whether the other end lives. A dead one is noticed after this and
/// [`RESPONSE_TIMEOUT`], at the latest.
pub const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How long the first pause between attempts to connect is; each is twice the one before.
pub const RECONNECT_MIN: Duration = Duration::from_millis(50);

/// How long a pause between attempts to connect may get.
pub const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// How long [`listen`](sockeye_cluster::adapter::Channel::listen) and
/// [`open`](sockeye_cluster::adapter::Adapter::open) wait for their subscription; then they fail. The wish of `listen` stands nevertheless.
pub const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How many changes of subscriptions may wait; whoever wants one more waits too.
pub const ORDERS_MAX: usize = 1024;

/// How many old-style questions of others are answered at a time; one more goes unanswered, and costs its asker the timeout.
pub const ANSWERS_MAX: usize = 64;
