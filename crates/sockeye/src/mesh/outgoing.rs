//! Dials one member and writes what is posted for it.

use std::sync::Arc;

use sockeye_proto::sid::Tag;
use tokio::net::UnixStream;

use super::door;
use super::line::Line;
use super::shared::Shared;

/// Connects, says hello and writes until the line ends, which it reports however it comes.
pub(super) async fn run(shared: Arc<Shared>, tag: Tag) {
    let stream = match UnixStream::connect(door::socket_path(&shared.dir, tag)).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(member = %tag, %error, "a member of the mesh cannot be reached");
            shared.turn(|machines| machines.dial_failed(tag, (&error).into()));
            return;
        }
    };
    let (line, _) = shared.turn(|machines| machines.dialled(tag));
    let outgoing = Outgoing { shared, tag, line };
    if let Err(error) = outgoing.line.write_all(&stream).await {
        tracing::debug!(member = %tag, %error, "a mesh connection broke");
    }
}

/// A dialled connection, whose end is reported by its drop.
struct Outgoing {
    shared: Arc<Shared>,
    tag: Tag,
    line: Arc<Line>,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.shared.turn(|machines| machines.line_lost(self.tag, &self.line));
    }
}
