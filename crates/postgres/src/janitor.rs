//! Deletes what is old: attachments that everybody has fetched, events that nobody can miss, sessions that are over.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::config::Config;
use crate::desk::Desk;

/// Sweeps at each interval. Every node does, as the official ones do. It ends when it is dropped.
pub(crate) async fn run(config: Arc<Config>, desk: Arc<Desk>) {
    let mut interval = interval(config.cleanup_interval.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.tick().await;
    loop {
        interval.tick().await;
        if let Err(error) = sweep(&config, &desk).await {
            tracing::warn!(%error, "what is old is still in PostgreSQL's tables");
        }
    }
}

pub(crate) async fn sweep(
    config: &Config,
    desk: &Desk,
) -> Result<(), sockeye_cluster::adapter::AdapterError> {
    desk.ask(async |live| {
        live.client.execute(&live.sweep, &[&config.cleanup_interval.as_secs_f64()]).await?;
        if let (Some(statements), Some(recovery)) = (&live.recovery, &config.recovery) {
            live.client.execute(&statements.trim, &[&recovery.events_kept.as_secs_f64()]).await?;
            live.client.execute(&statements.expire, &[]).await?;
        }
        Ok(())
    })
    .await
}
