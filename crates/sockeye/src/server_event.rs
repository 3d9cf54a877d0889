//! An event that another server sent to the servers themselves.

use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::payload::{self, Args, EmitError, FromArgs, Payload};
use parking_lot::Mutex;
use sockeye_cluster::node::Asker;
use std::fmt;
use std::sync::Arc;

/// One event of another server, as a handler gets it: [`Definition::on_server_event`](crate::Definition::on_server_event).
///
/// ```
/// use sockeye::{Config, Server, ServerEvent};
///
/// let mut io = Server::new(Config::default());
/// io.namespace("/").on_server_event("how many?", |event: ServerEvent| async move {
///     event.ack(event.namespace().local_len())
/// });
/// ```
pub struct ServerEvent {
    namespace: Namespace,
    name: Arc<str>,
    args: Args,
    asked: Option<Asked>,
}

/// Who waits for an answer, and the way there.
pub(crate) struct Asked {
    cluster: Cluster,
    /// Taken by the first answer.
    asker: Mutex<Option<Asker>>,
}

impl ServerEvent {
    pub(crate) fn new(namespace: Namespace, name: Arc<str>, args: Args, asked: Option<Asked>) -> Self {
        Self { namespace, name, args, asked }
    }

    /// The namespace it was sent in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads the arguments: a tuple takes as many as it has fields, any other type takes the first one.
    ///
    /// # Errors
    /// The arguments are not of that type. A handler may return the error: it is logged.
    pub fn data<T: FromArgs>(&self) -> Result<T, serde_json::Error> {
        self.args.data()
    }

    /// The arguments as they came.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Whether the other server waits for an answer.
    pub fn wants_ack(&self) -> bool {
        self.asked.is_some()
    }

    /// Answers with one value, if the other server waits for one; only the first answer counts.
    ///
    /// # Errors
    /// [`EmitError`]: the payload cannot be sent as it is.
    pub fn ack(&self, payload: impl Payload) -> Result<(), EmitError> {
        let Some(asked) = &self.asked else { return Ok(()) };
        let (mut json, mut attachments) = (Vec::new(), Vec::new());
        payload.append_to(&mut json, &mut attachments)?;
        let args = Args::of_vec(json, attachments);
        let asker = asked.asker.lock().take();
        if let Some(asker) = asker {
            // The format has room for one value.
            asked.cluster.answer(|node| node.handle_value(asker, payload::first(&args)));
        }
        Ok(())
    }
}

impl Asked {
    pub(crate) fn new(cluster: Cluster, asker: Asker) -> Self {
        Self { cluster, asker: Mutex::new(Some(asker)) }
    }
}

impl fmt::Debug for ServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEvent")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
