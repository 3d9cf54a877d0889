//! Whom a namespace asks: the servers on its backplane, the nodes of the mesh or, where there is neither, this one alone.
//!
//! All go by `sockeye_cluster`'s `Node`, so that there is one account of acks, of time and of what is missing.

use crate::backplane::Branch;
pub(crate) use crate::clock::now;
use crate::clock::until;
use crate::mesh::Mesh;
pub(crate) use crate::unanswered::Unanswered;
use parking_lot::Mutex;
use sockeye_cluster::node::{Node, Question, Step};
use sockeye_cluster::{Nsp, Outcome, Request, RequestId, Uid};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Where questions come from and answers go.
#[derive(Clone)]
pub(crate) enum Cluster {
    /// All nodes of the machine.
    Mesh(Mesh),
    /// All servers on the backplane.
    Backplane(Arc<Branch>),
    /// This node.
    Alone(Arc<Alone>),
}

/// A node without others. It has no task: who asks keeps the time.
#[derive(Debug)]
pub(crate) struct Alone(Mutex<State>);

#[derive(Debug)]
struct State {
    node: Node,
    waiting: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
}

impl Cluster {
    /// Asks everybody, this node included, and waits for the end. `here` is put this node's question where nobody else does so.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the answers; the request is sent at the first poll.
    pub(crate) async fn request(
        &self,
        nsp: &Nsp,
        request: Request,
        here: impl FnOnce(Question),
    ) -> Result<Outcome, Unanswered> {
        match self {
            Self::Mesh(mesh) => mesh.request(nsp, request)?.await.map_err(|_| Unanswered::Gone),
            Self::Backplane(branch) => branch.request(request).await,
            Self::Alone(alone) => alone.request(nsp, request, here).await,
        }
    }

    /// Whether all others are servers of Sockeye's, which answer what the official ones have no message for.
    pub(crate) async fn is_all_sockeye(&self) -> bool {
        match self {
            Self::Mesh(_) | Self::Alone(_) => true,
            Self::Backplane(branch) => branch.knows_all().await && branch.is_all_sockeye(),
        }
    }

    /// How this server signs, if it is one of many.
    pub(crate) fn uid(&self) -> Option<Uid> {
        match self {
            Self::Mesh(mesh) => Some(mesh.uid()),
            Self::Backplane(branch) => Some(branch.uid().clone()),
            Self::Alone(_) => None,
        }
    }

    /// Hands answers in.
    pub(crate) fn answer(&self, answer: impl FnOnce(&mut Node)) {
        match self {
            Self::Mesh(mesh) => mesh.answer(answer),
            Self::Backplane(branch) => branch.answer(answer),
            Self::Alone(alone) => drop(alone.turn(answer)),
        }
    }
}

impl Alone {
    /// Makes a node of its own.
    pub(crate) fn new() -> Self {
        let node = Node::new(format!("{:016x}", rand::random::<u64>()).into());
        Self(Mutex::new(State { node, waiting: BTreeMap::new() }))
    }

    async fn request(
        &self,
        nsp: &Nsp,
        request: Request,
        here: impl FnOnce(Question),
    ) -> Result<Outcome, Unanswered> {
        let (tell, mut told) = oneshot::channel();
        let question = {
            let mut state = self.0.lock();
            // What its callers have left behind.
            state.node.handle_timeout(now());
            let id = state.node.handle_request(nsp, request, rand::random(), now())?;
            state.waiting.insert(id, tell);
            state.settle()
        };
        if let Some(question) = question {
            here(question);
        }
        loop {
            let due = self.0.lock().node.poll_timeout();
            tokio::select! {
                outcome = &mut told => return outcome.map_err(|_| Unanswered::Gone),
                () = until(due) => drop(self.turn(|node| node.handle_timeout(now()))),
            }
        }
    }

    fn turn(&self, tell: impl FnOnce(&mut Node)) -> Option<Question> {
        let mut state = self.0.lock();
        tell(&mut state.node);
        state.settle()
    }
}

impl State {
    /// Tells who waits; returns the question to this node, of which there is one a request.
    fn settle(&mut self) -> Option<Question> {
        let mut question = None;
        while let Some(step) = self.node.poll_step() {
            match step {
                // Nobody else is there to be told or heard.
                Step::Act(_) => {}
                Step::Answer(own) => question = Some(own),
                Step::Finish(outcome) => {
                    if let Some(tell) = self.waiting.remove(&outcome.request_id) {
                        // Who does not wait any more does not mind.
                        drop(tell.send(outcome));
                    }
                }
            }
        }
        question
    }
}
