//! The half of the driver that starts processes, and sets whatever may say that they serve to work.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::net::{UnixDatagram, UnixStream};

use super::{Input, Supervisor};
use crate::command::{Place, command};
use crate::event::Event;
use crate::lines::Stream;
use crate::process::Process;
use crate::readiness;
use crate::slot::remove;
use crate::spec::ReadyBy;

/// So long before a process is counted as failed it is taken to serve, where nothing but a link could have said so.
const PATIENCE_MARGIN: Duration = Duration::from_millis(100);

impl Supervisor {
    pub(super) fn spawn(&mut self, instance: u32) {
        let prepared = self.prepare(instance);
        let slot = self.slots.entry(instance).or_default();
        slot.generation += 1;
        slot.spawning = true;
        slot.tag = (self.config.tag)();
        let (generation, sender) = (slot.generation, self.sender.clone());
        let asked = prepared.and_then(|(command, channel)| {
            self.spawner.spawn(command, channel, move |result| {
                // Whoever is not heard has a supervisor that is gone: then the process is dropped, and with that killed.
                let _ = sender.blocking_send(Input::Spawned(instance, generation, result));
            })
        });
        if let Err(error) = asked {
            self.not_spawned(instance, error, Instant::now());
        }
    }

    /// Everything that the next process of a worker finds, and the end of the channel that it inherits.
    fn prepare(&mut self, instance: u32) -> io::Result<(Command, Option<OwnedFd>)> {
        let (link, plain) = (self.directory.link(), self.directory.plain());
        let place = self.fleet.place(instance).unwrap_or(instance);
        let slot = self.slots.entry(instance).or_default();
        let (sender, generation) = (self.sender.clone(), slot.generation + 1);
        let serves = async move || drop(sender.send(Input::Serves(instance, generation)).await);
        if self.config.ready == ReadyBy::Notify {
            let path = self.directory.notify(instance);
            remove(&path);
            let notified = readiness::notify(UnixDatagram::bind(&path)?, serves.clone());
            slot.tasks.push(self.tasks.spawn(notified));
            slot.notify = Some(path);
        }
        let mut channel = None;
        if self.config.ipc {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let (heard, said) = UnixStream::from_std(ours)?.into_split();
            let counts = self.config.ready == ReadyBy::Ipc;
            let spoken = readiness::channel(heard, async move || {
                if counts {
                    serves().await;
                }
            });
            slot.tasks.push(self.tasks.spawn(spoken));
            slot.channel = Some(said);
            channel = Some(OwnedFd::from(theirs));
        }
        slot.port = match self.config.private_ports {
            true => Some(free_port()?),
            false => self.config.ports.and_then(|ports| ports.of(place)),
        };
        let facts = Place {
            instance,
            place,
            link: self.config.linked.then_some(&link),
            plain: self.config.linked.then_some(&plain),
            port: slot.port,
            notify: slot.notify.as_deref(),
            channel: channel.as_ref().map(AsRawFd::as_raw_fd),
        };
        Ok((command(&self.config, &facts), channel))
    }

    pub(super) fn spawned(
        &mut self,
        instance: u32,
        generation: u64,
        result: io::Result<Process>,
        now: Instant,
    ) {
        let result = result.and_then(|mut process| process.ended().map(|ended| (process, ended)));
        let (mut process, ended) = match result {
            Ok(parts) => parts,
            Err(error) => return self.not_spawned(instance, error, now),
        };
        self.events.push_back(Event::Started { instance, pid: process.id() });
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            ended.wait().await;
            let _ = sender.send(Input::Exited(instance, generation)).await;
        });
        let (output, errors) = process.output();
        self.listen(instance, Stream::Out, output);
        self.listen(instance, Stream::Error, errors);
        let slot = self.slots.entry(instance).or_default();
        slot.spawning = false;
        slot.process = Some(process);
        slot.status = None;
        let early = slot.early.take();
        self.fleet.handle_worker(instance, now, |worker| worker.handle_spawned(now));
        self.await_service(instance, generation, now);
        if let Some(arrival) = early {
            self.arrived(arrival, now);
        }
    }

    /// Sets whatever may say that a process serves to work, but for what it says by itself.
    fn await_service(&mut self, instance: u32, generation: u64, now: Instant) {
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        let private = slot.port.or(self.config.probe_port);
        let (port, path) = match &self.config.ready {
            ReadyBy::Started => (None, None),
            ReadyBy::Auto if !self.config.linked => (None, None),
            ReadyBy::Auto => match slot.port {
                Some(port) => (Some(port), None),
                None => return self.await_patience(instance, generation),
            },
            ReadyBy::Port(asked) => (asked.or(private), None),
            ReadyBy::Http(path) => (private, Some(path.clone())),
            ReadyBy::Link | ReadyBy::Notify | ReadyBy::Ipc => return,
        };
        let Some(port) = port else {
            return self.fleet.handle_worker(instance, now, |worker| worker.handle_ready(now));
        };
        let sender = self.sender.clone();
        slot.tasks.push(self.tasks.spawn(async move {
            match path {
                None => readiness::port(port).await,
                Some(path) => readiness::http(port, &path).await,
            }
            let _ = sender.send(Input::Serves(instance, generation)).await;
        }));
    }

    /// Nothing but a link can say that it serves. Whoever has none, and lives, is taken to serve in the end: it may be no server at all.
    fn await_patience(&mut self, instance: u32, generation: u64) {
        let patience = self.config.timing.ready_timeout.saturating_sub(PATIENCE_MARGIN);
        let sender = self.sender.clone();
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        slot.tasks.push(self.tasks.spawn(async move {
            tokio::time::sleep(patience).await;
            let _ = sender.send(Input::Serves(instance, generation)).await;
        }));
    }

    fn not_spawned(&mut self, instance: u32, error: io::Error, now: Instant) {
        if let Some(slot) = self.slots.get_mut(&instance) {
            slot.spawning = false;
            slot.clear();
        }
        self.events.push_back(Event::NotStarted { instance, error });
        self.fleet.handle_worker(instance, now, |worker| worker.handle_spawn_failed(now));
    }
}

/// A port of the loopback that nobody has at this moment.
fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
