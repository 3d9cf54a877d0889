//! What the channels of a server share: connections, and the tasks that go with them.

use std::sync::Arc;

use sockeye_cluster::adapter::AdapterError;
use tokio::task::JoinSet;

use crate::config::Config;
use crate::desk::Desk;
use crate::ear::Ear;
use crate::janitor;
use crate::members::Members;
use crate::post::Post;

/// What the channels of a server share.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) config: Arc<Config>,
    pub(crate) members: Arc<Members>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) post: Post,
    pub(crate) ear: Arc<Ear>,
    /// The ear and the janitor; they end with the house.
    _tasks: JoinSet<()>,
}

impl House {
    /// Connects, and makes the tables that are absent.
    pub(crate) async fn open(config: Arc<Config>) -> Result<Arc<Self>, AdapterError> {
        let members = Arc::<Members>::default();
        let desk = Arc::new(Desk::new(Arc::clone(&config)));
        // The tables are made before anybody writes into them.
        desk.ask(async |_| Ok(())).await?;
        let (ear, coming) = Ear::open(Arc::clone(&config), Arc::clone(&members), Arc::clone(&desk)).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&ear).run(coming));
        tasks.spawn(janitor::run(Arc::clone(&config), Arc::clone(&desk)));
        let post = Post::new(Arc::clone(&config));
        Ok(Arc::new(Self { config, members, desk, post, ear, _tasks: tasks }))
    }
}
