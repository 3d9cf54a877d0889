//! A server as a supervisor's worker: it takes hand-overs, relayed requests and, if it was given one, a port of its own.

#[cfg(test)]
mod tests;

use crate::backplane::BackplaneEvent;
use crate::caller::{Caller, Way};
use crate::cluster::Cluster;
use crate::core::{Application, Core};
use crate::delivery::of_nobody;
use crate::handler::unharmed;
use crate::linked;
use crate::listen::{Listening, bind};
use crate::mesh::{Kept, Mesh, Missed};
use crate::orders;
use crate::private::{accept_private, bind_private};
use crate::server_events;
use sockeye_cluster::mesh::{Spoken, Word};
use sockeye_cluster::node::{Output, Question};
use sockeye_cluster::recovery::Config as Store;
use sockeye_cluster::{Nsp, Packet};
use sockeye_link::{Assign, Event, Parent, Ready};
use sockeye_proto::sid::Tag;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinSet;

/// What a worker does this long after it is ready is no part of its start.
const START_TIME: Duration = Duration::from_secs(1);

/// Serves in the place that `assign` names, until the parent says stop or is gone.
pub(crate) async fn run(
    start: impl FnOnce(Tag) -> Listening,
    mut parent: Parent,
    assign: Assign,
    asked: Option<SocketAddr>,
) -> io::Result<()> {
    let tag: Tag = assign.tag.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let listening = start(tag);
    let core = &listening.site.core;
    let private = bind_private(&assign.http_path)?;
    let port = match assign.port {
        Some(port) => Some(bind((assign.host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port)).await?),
        None => None,
    };
    let linked = linked::join(&core.config, Some(tag), true).await?;
    // Ends with this future.
    let _links = linked.map(|linked| linked.begin(&listening));
    listening.open_backplane().await?;
    // Ready means: whoever is here already hears what is said here.
    join_mesh(core, &assign.mesh_dir, Some(&assign.http_path))?.settled().await;
    // A worker has one parent.
    drop(core.reporter.set(parent.reporter()));
    let port_number =
        port.as_ref().map(|port| port.local_addr().map(|address| address.port())).transpose()?;
    parent.reporter().ready(Ready {
        tag: assign.tag.clone(),
        http: assign.http_path.clone(),
        port: port_number,
        asked,
    });
    let work = async {
        serve(&listening, &mut parent, &private, port.as_ref()).await;
        // Its file is ours to remove; the parent sweeps what is left.
        drop(std::fs::remove_file(&assign.http_path));
        listening.close().await;
    };
    tokio::select! {
        () = work => {}
        () = core.tell_load_changes() => {}
        () = forget_the_start() => {}
    }
    core.tell_load();
    parent.bye().await;
    Ok(())
}

/// Gives back the pages of all that ran once, at the start. A worker is one of many on its machine.
async fn forget_the_start() {
    tokio::time::sleep(START_TIME).await;
    sockeye_sys::release_unmodified_pages();
    std::future::pending().await
}

async fn serve(
    listening: &Listening,
    parent: &mut Parent,
    private: &UnixListener,
    port: Option<&TcpListener>,
) {
    let mut connections = JoinSet::new();
    let mut relayed = JoinSet::new();
    let mut handed = JoinSet::new();
    tokio::select! {
        () = accept_port(listening, port, &mut connections) => {}
        () = accept_private(listening, private, &mut relayed) => {}
        () = take_handovers(listening, parent, &mut handed) => {}
        () = listening.handle.closed() => {}
    }
}

async fn accept_port(listening: &Listening, port: Option<&TcpListener>, connections: &mut JoinSet<()>) {
    match port {
        Some(port) => listening.accept_tcp(port, connections).await,
        None => std::future::pending().await,
    }
}

/// Takes connections that the edge hands over, until the parent wants this worker to end.
async fn take_handovers(listening: &Listening, parent: &mut Parent, connections: &mut JoinSet<()>) {
    loop {
        let event = tokio::select! {
            event = parent.next() => event,
            Some(_) = connections.join_next() => continue,
        };
        match event {
            Event::Connection(connection) => match TcpStream::from_std(connection.stream) {
                Ok(stream) => {
                    drop(stream.set_nodelay(true));
                    let caller = Caller { peer: connection.peer, way: Way::Edge };
                    listening.spawn(connections, stream.into(), connection.read, caller);
                }
                Err(error) => tracing::warn!(%error, "a handed-over connection could not be taken"),
            },
            Event::Drain(within) => {
                tracing::info!(?within, "draining");
                parent.reporter().draining();
                // A worker without sessions need not wait for their end.
                listening.site.core.report_load();
            }
            Event::Shed(sessions) => listening.site.core.let_go(sessions),
            Event::Stop | Event::Gone => return,
        }
    }
}

/// Joins the mesh of a directory. `http` is the private socket, on which others find this server; without one it is a guest.
pub(crate) fn join_mesh(core: &Arc<Core>, dir: &Path, http: Option<&Path>) -> io::Result<Mesh> {
    let weak = Arc::downgrade(core);
    let sink = Arc::new(move |output| obey(&weak, output));
    // What a guest says may be missed, too.
    let keeps = core.config.recovery_store().or_else(|| http.is_none().then(Store::default));
    let age_max = keeps.map(|store| store.age_max());
    // By a backplane come the events elsewhere; who listens to all that goes out is to hear what others say, too.
    let selects = core.config.adapter.is_none() && !core.hears_all();
    let mesh = Mesh::join(dir, core.tag, http.map(Path::to_owned), age_max, selects, sink)?;
    let weak = Arc::downgrade(core);
    mesh.set_answerer(Arc::new(move |question| answer(&weak, question)));
    let weak = Arc::downgrade(core);
    mesh.set_keeper(Arc::new(move |kept| keep(&weak, kept)));
    let weak = Arc::downgrade(core);
    mesh.set_reporter(Box::new(move |missed| report(&weak, missed)));
    // Joined once.
    drop(core.mesh.set(mesh.clone()));
    for realm in core.realms() {
        realm.hub.keep_on_mesh();
        realm.hub.show_on_mesh();
        realm.hub.keep_sessions();
    }
    Ok(mesh)
}

/// Answers what another node asks, or this one.
fn answer(core: &Weak<Core>, question: Question) {
    let Some(core) = core.upgrade() else { return };
    let Some(mesh) = core.mesh.get() else { return };
    let cluster = Cluster::Mesh(mesh.clone());
    match core.realm(namespace_of(&question)) {
        Some(realm) => server_events::take(&realm, &cluster, question),
        None => refuse(&cluster, question),
    }
}

fn namespace_of(question: &Question) -> &Nsp {
    match question {
        Question::DeliverWithAck { nsp, .. }
        | Question::FetchSockets { nsp, .. }
        | Question::ServerSideEmit { nsp, .. } => nsp,
    }
}

/// Answers for a namespace that is not here: nobody is in it.
fn refuse(cluster: &Cluster, question: Question) {
    match question {
        Question::DeliverWithAck { asker, .. } => cluster.answer(|node| node.handle_client_count(&asker, 0)),
        Question::FetchSockets { asker, .. } => {
            cluster.answer(|node| node.handle_sockets(asker, Packet::text("[]")));
        }
        Question::ServerSideEmit { asker: Some(asker), packet, .. } => {
            if let Some(nothing) = of_nobody(&packet) {
                cluster.answer(|node| node.handle_value(asker, nothing));
            }
        }
        Question::ServerSideEmit { asker: None, .. } => {}
    }
}

/// Takes what concerns sessions.
fn keep(core: &Weak<Core>, kept: Kept) {
    let Some(core) = core.upgrade() else { return };
    match kept {
        Kept::Heard(spoken) => match core.realm(&spoken.nsp) {
            Some(realm) => realm.hub.hear_word(*spoken),
            None => cannot_help(&core, *spoken),
        },
        Kept::Greeted(tag) => {
            for realm in core.realms() {
                // Ends when all is told; the runtime reports a panic.
                tokio::spawn(Arc::clone(&realm.hub).greet(tag));
            }
        }
    }
}

/// Tells the application what has not got through.
fn report(core: &Weak<Core>, missed: Missed) {
    let Some(core) = core.upgrade() else { return };
    let Application::SocketIo(realms) = &core.application else { return };
    let event = match missed {
        Missed::There(tag, messages) => BackplaneEvent::MeshUntaken { tag: tag.to_string(), messages },
        Missed::Here(tag, events) => BackplaneEvent::MeshMissed { tag: tag.to_string(), events },
        Missed::Malformed(frames) => BackplaneEvent::MeshMalformed { frames },
    };
    tracing::warn!(?event, "something has not got through the mesh");
    if let Some(hook) = realms.on_backplane() {
        unharmed(|| hook(&event));
    }
}

/// Answers for a namespace that is not here: there are no sessions.
fn cannot_help(core: &Core, spoken: Spoken) {
    let (Word::Fetch { request_id, .. }, Some(mesh)) = (spoken.word, core.mesh.get()) else { return };
    let seen = mesh.with_sightings(|sightings| sightings.seen().clone());
    if let (Some(seen), Some(to)) = (seen, mesh.tag_of(&spoken.uid)) {
        mesh.tell_one(to, &spoken.nsp, Word::Response { request_id, session: None, seen });
    }
}

/// Does here what another node said.
fn obey(core: &Weak<Core>, output: Output) {
    let Some(core) = core.upgrade() else { return };
    match &output {
        Output::Deliver { nsp, .. }
        | Output::Join { nsp, .. }
        | Output::Leave { nsp, .. }
        | Output::Disconnect { nsp, .. } => {
            if let Some(realm) = core.realm(nsp) {
                orders::obey(&realm, output);
            }
        }
        Output::PeerJoined(peer) => {
            tracing::debug!(?peer, "node joined");
            core.realms().iter().for_each(|realm| orders::meet(realm));
        }
        Output::PeerLeft(peer) => {
            tracing::debug!(?peer, "node left");
            for realm in core.realms() {
                realm.hub.holder_left(&peer.uid);
                orders::miss(&realm, &peer.uid);
            }
        }
        Output::Send { .. } | Output::Publish(_) => {}
    }
}
