//! The task of one group: asks its servers whether they serve, lets sessions go at their pace, and forgets what is over. It decides nothing.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::header::HOST;
use http::{HeaderValue, Request};
use sockeye_relay::{Body, Origin, Upstream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::debug;

use super::crowd::Servers;
use crate::config::{Check, Health, Probe};
use crate::door::Door;
use crate::member::MemberId;

/// Looks after the servers for as long as they are there; `changed` rings when there is something to look at, and at their end.
pub(super) async fn keep(servers: Weak<Servers>, changed: Arc<Notify>) {
    // Ends with this task.
    let mut checks = JoinSet::new();
    let mut swept = Instant::now();
    loop {
        let Some(there) = servers.upgrade() else { return };
        let now = Instant::now();
        there.begin_checks(now, &mut checks);
        there.end_leases(now);
        let sheds = there.let_go(now);
        if now.saturating_duration_since(swept) >= SWEEP_PAUSE {
            there.sweep(now);
            swept = now;
        }
        let next = there.next_look(now, sheds);
        // Not held while it waits, or they would live for ever.
        drop(there);
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = changed.notified() => {}
            Some(Ok((id, good))) = checks.join_next(), if !checks.is_empty() => {
                if let Some(there) = servers.upgrade() {
                    there.handle_checked(id, good);
                }
            }
        }
    }
}

impl Servers {
    /// Asks those who are due. A server that nobody asks, and that refused a client, is asked by a connect.
    fn begin_checks(&self, now: Instant, checks: &mut JoinSet<(MemberId, bool)>) {
        let mut state = self.state.lock();
        let health = state.group.health.clone();
        for member in state.members.values_mut() {
            if member.check_at.is_none_or(|at| at > now) {
                continue;
            }
            let check = match &health.check {
                Check::Off if member.health.is_up() => continue,
                Check::Off => Check::Connect,
                Check::Connect | Check::Http(_) => health.check.clone(),
            };
            member.check_at = None;
            let (door, health) = (Arc::clone(&member.door), Health { check, ..health.clone() });
            checks.spawn(async move { (door.id, ask(&door, &health).await) });
        }
    }

    fn handle_checked(&self, id: MemberId, good: bool) {
        if self.state.lock().handle_checked(id, good, Instant::now()) {
            self.ready.notify_waiters();
        }
    }

    fn end_leases(&self, now: Instant) {
        let ended = self.state.lock().leases.handle_timeout(now);
        if ended {
            self.list_registered();
        }
    }

    /// Lets sessions go whose turn it is. Tells whether more will go.
    fn let_go(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let loads = state.loads();
        let going = state.shedding.handle_time(&loads, now);
        let doors: Vec<(Arc<Door>, u32)> =
            going.iter().filter_map(|(id, sessions)| state.shed(*id, *sessions)).collect();
        let sheds = state.shedding.is_at_work();
        drop(state);
        for (door, sessions) in doors {
            if door.is_worker() {
                door.shed(sessions);
            } else {
                let pulled = door.pull(sessions);
                self.state.lock().moved += u64::from(pulled);
                door.moved.ring();
            }
        }
        sheds
    }

    /// Ends tunnels that are dead, and forgets sessions that are.
    fn sweep(&self, now: Instant) {
        let mut state = self.state.lock();
        state.sweep(now);
        let limit = state.silence_max();
        let doors: Vec<Arc<Door>> = state
            .members
            .values()
            .filter(|member| !member.door.is_worker())
            .map(|member| Arc::clone(&member.door))
            .collect();
        drop(state);
        let silent: u32 = doors.iter().map(|door| door.pull_silent(limit, now)).sum();
        self.state.lock().silent += u64::from(silent);
    }

    fn next_look(&self, now: Instant, sheds: bool) -> Instant {
        if sheds {
            // Not on the beat, so that several edges do not beat together.
            let jitter = rand::random_range(0..SHED_PAUSE.as_millis() as u64 / 2);
            return now + SHED_PAUSE * 3 / 4 + Duration::from_millis(jitter);
        }
        let state = self.state.lock();
        let check = state.members.values().filter_map(|member| member.check_at).min();
        check.map_or(now + LOOK_PAUSE, |check| check.min(now + LOOK_PAUSE)).max(now + LOOK_PAUSE_MIN)
    }
}

/// Whether a server answers as it should.
async fn ask(door: &Door, health: &Health) -> bool {
    let answer = async {
        match &health.check {
            Check::Off => true,
            Check::Connect => door.upstream.connects().await,
            Check::Http(probe) => probe_for(&door.upstream, probe).await,
        }
    };
    tokio::time::timeout(health.timeout, answer).await.unwrap_or(false)
}

async fn probe_for(upstream: &Upstream, probe: &Probe) -> bool {
    let host = match upstream.address() {
        sockeye_relay::Address::Tcp(address) => HeaderValue::try_from(address.to_string()).ok(),
        sockeye_relay::Address::Unix(_) | sockeye_relay::Address::Node(_) => None,
    };
    let request = Request::builder()
        .method(probe.method.as_str())
        .uri(probe.path.as_str())
        .header(HOST, host.unwrap_or(HeaderValue::from_static("localhost")))
        .body(Body::empty());
    let Ok(request) = request else { return false };
    let nobody = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    let (least, most) = probe.status;
    match upstream.request(request, &Origin::new(nobody)).await {
        Ok(response) => (least..=most).contains(&response.status().as_u16()),
        Err(error) => {
            debug!(at = %upstream.address(), %error, "health check failed");
            false
        }
    }
}

/// The pause between two looks at what may be over.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// The shortest pause between two looks.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(5);
/// The pause between two looks while sessions are let go.
const SHED_PAUSE: Duration = Duration::from_millis(100);
/// The pause between two looks for dead sessions and tunnels.
const SWEEP_PAUSE: Duration = Duration::from_secs(3);
