//! What the channels of a server share: the driver's pool of connections, and the task that listens.

use std::sync::Arc;

use mongodb::bson::doc;
use mongodb::options::IndexOptions;
use mongodb::{Client, IndexModel};
use sockeye_cluster::adapter::AdapterError;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Config;
use crate::failure;
use crate::members::Members;
use crate::stream::Stream;

/// What the channels of a server share.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) config: Arc<Config>,
    pub(crate) members: Arc<Members>,
    pub(crate) stream: Arc<Stream>,
    /// The stream's; it ends with the house.
    _tasks: JoinSet<()>,
}

impl House {
    /// Connects, makes the index or the capped collection that is absent, and listens.
    pub(crate) async fn open(config: Arc<Config>) -> Result<Arc<Self>, AdapterError> {
        let client = Client::with_options(config.client.clone());
        let database = client.map_err(|error| failure::sorted(&config, &error))?.database(&config.database);
        let members = Arc::<Members>::default();
        let stream = Stream { config: Arc::clone(&config), members: Arc::clone(&members), database };
        let stream = Arc::new(stream);
        if config.created_at {
            let options = IndexOptions::builder().expire_after(config.kept).build();
            let index = IndexModel::builder().keys(doc! {"createdAt": 1}).options(options).build();
            // One that is there, with another time, stays; a user that may not make any needs none of ours.
            if let Err(error) = ask(&config, stream.collection().create_index(index)).await {
                if let AdapterError::Unreachable(_) = error {
                    return Err(error);
                }
                tracing::info!(%error, "the index by which documents end is left as it is");
            }
        } else {
            ask(&config, stream.make_capped()).await?;
        }
        let source = ask(&config, stream.open(None)).await?.ok_or_else(|| failure::late(&config))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&stream).run(source));
        Ok(Arc::new(Self { config, members, stream, _tasks: tasks }))
    }
}

/// Asks the server something, within [`Config::timeout`].
pub(crate) async fn ask<T>(
    config: &Config,
    question: impl IntoFuture<Output = Result<T, mongodb::error::Error>>,
) -> Result<T, AdapterError> {
    match timeout(config.timeout, question.into_future()).await {
        Ok(answer) => answer.map_err(|error| failure::sorted(config, &error)),
        Err(_) => Err(failure::late(config)),
    }
}
