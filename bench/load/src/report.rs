//! The JSON line.

use serde::Serialize;

/// The outcome of a run. Fields that do not apply are left out.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) clients: usize,
    pub(crate) in_flight: usize,
    pub(crate) payload: usize,
    /// Echoes, acks, deliveries or connects within the measured time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) latency: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) load: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
}

/// Microseconds from when a message was sent (with `--rate`: was due) to its answer.
#[derive(Serialize)]
pub(crate) struct Latency {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Whether waiting to be sent is part of it.
    pub(crate) corrected: bool,
}

/// CPU time of one side.
#[derive(Serialize)]
pub(crate) struct Cost {
    pub(crate) cpu_us_per_message: f64,
    pub(crate) user_us_per_message: f64,
    pub(crate) system_us_per_message: f64,
    /// Share of one core that was busy.
    pub(crate) core_share: f64,
}

/// The server's resident memory.
#[derive(Serialize)]
pub(crate) struct Memory {
    pub(crate) before_kib: u64,
    pub(crate) after_kib: u64,
    pub(crate) kib_per_connection: f64,
    /// Seconds until it held still.
    pub(crate) settled_after: f64,
    /// `false` when it still moved at the end of the wait.
    pub(crate) settled: bool,
}
