//! One namespace of one server on a bus.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sockeye_cluster::adapter::{
    AdapterError, BoxFuture, Channel, ChannelStats, Letter, Opening, Position, Published, Returned, Session,
    Sessions,
};
use sockeye_cluster::node::To;
use sockeye_cluster::{Envelope, Nsp, Pid, Room, Uid, wire};

use super::kind::Kind;
use super::state::State;

/// One namespace of one server.
pub(super) struct Seat {
    kind: Kind,
    state: Arc<Mutex<State>>,
    seat: u64,
    uid: Uid,
    nsp: Nsp,
    began: u64,
}

impl Seat {
    pub(super) fn new(kind: Kind, state: Arc<Mutex<State>>, seat: u64, opening: Opening, began: u64) -> Self {
        Self { kind, state, seat, uid: opening.uid, nsp: opening.nsp, began }
    }

    fn publish_one(&self, letter: Letter) -> Result<Published, AdapterError> {
        let Letter { to, message } = letter;
        let envelope = Envelope { uid: self.uid.clone(), nsp: self.nsp.clone(), message };
        let frame = wire::encode(&envelope).map_err(|error| AdapterError::Refused(error.to_string()))?;
        let mut state = self.state.lock();
        state.may_publish(self.seat)?;
        let to = match &to {
            To::All => None,
            To::One(uid) => Some(uid),
        };
        let offset = state.carry(self.kind, &envelope, to, &frame);
        Ok(Published { offset })
    }
}

impl Channel for Seat {
    fn publish(&self, batch: Vec<Letter>) -> BoxFuture<'_, Vec<Result<Published, AdapterError>>> {
        Box::pin(async move { batch.into_iter().map(|letter| self.publish_one(letter)).collect() })
    }

    fn listen(&self, room: Room) -> BoxFuture<'_, Result<(), AdapterError>> {
        self.state.lock().listen(self.seat, room);
        Box::pin(std::future::ready(Ok(())))
    }

    fn unlisten(&self, room: Room) -> BoxFuture<'_, ()> {
        self.state.lock().unlisten(self.seat, &room);
        Box::pin(std::future::ready(()))
    }

    fn began(&self) -> Option<Position> {
        (self.kind == Kind::Keeping).then(|| Position(self.began.to_string().into()))
    }

    fn servers(&self) -> BoxFuture<'_, Result<u64, AdapterError>> {
        let state = self.state.lock();
        let count = state.may_publish(self.seat).map(|()| state.uids(&self.nsp).len() as u64);
        Box::pin(std::future::ready(count))
    }

    fn sessions(&self) -> Option<&dyn Sessions> {
        if self.kind == Kind::Keeping { Some(self) } else { None }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.state.lock().close(self.seat);
        Box::pin(std::future::ready(()))
    }

    fn stats(&self) -> ChannelStats {
        self.state.lock().stats(self.seat)
    }
}

impl Sessions for Seat {
    fn save<'a>(&'a self, session: &'a Session, keep: Duration) -> BoxFuture<'a, Result<(), AdapterError>> {
        Box::pin(async move {
            let mut state = self.state.lock();
            state.may_publish(self.seat)?;
            state.save(&self.nsp, session.clone(), Instant::now() + keep);
            Ok(())
        })
    }

    fn take<'a>(
        &'a self,
        pid: &'a Pid,
        offset: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Option<Returned>, AdapterError>> {
        Box::pin(async move {
            let mut state = self.state.lock();
            state.may_publish(self.seat)?;
            Ok(state.take(&self.nsp, pid, offset, Instant::now()))
        })
    }

    fn forget<'a>(&'a self, pid: &'a Pid) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.state.lock().forget(&self.nsp, pid) })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.state.lock().close(self.seat);
    }
}
