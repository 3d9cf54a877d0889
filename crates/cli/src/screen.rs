//! What a person at the terminal reads of the workers: one line a change, nothing else. Pure: events in, lines out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sockeye_supervisor::Event;

use crate::plan::{Plan, url};
use crate::tenant::Recipe;

/// What was told so far.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Before each line, where several apps run.
    prefix: String,
    /// What is to be opened, where a person is shown around.
    listening: Option<SocketAddr>,
    /// After which time a worker that is not ready is killed.
    patience: Duration,
    rows: BTreeMap<u32, Row>,
    instances: u32,
    stopping: bool,
}

/// What is known of one worker.
#[derive(Debug, Clone, Default)]
struct Row {
    /// 0 when there is none.
    pid: u32,
    killed: bool,
    /// Why its last process is no more.
    end: String,
}

impl Screen {
    /// Nothing was told yet.
    pub(crate) fn new(recipe: &Recipe, prefix: String, listening: Option<SocketAddr>) -> Self {
        let patience = recipe.launch.spec.ready_timeout.duration();
        let instances = recipe.count().get();
        Self { prefix, listening, patience, rows: BTreeMap::new(), instances, stopping: false }
    }

    /// The end was asked for: what ends from here on is no news.
    pub(crate) fn handle_stop(&mut self) {
        self.stopping = true;
    }

    /// What to say of an event, if anything.
    pub(crate) fn handle_event(&mut self, event: &Event) -> Option<String> {
        let line = self.line(event)?;
        Some(if line.starts_with('\n') { line } else { format!("{}{line}", self.prefix) })
    }

    fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::Started { instance, pid } => {
                *self.row(*instance) = Row { pid: *pid, ..Row::default() };
                None
            }
            Event::Ready { instance, tag, port, .. } => {
                let pid = self.row(*instance).pid;
                let port = port.map(|port| format!("  port {port}")).unwrap_or_default();
                Some(format!("worker {instance}  ready    pid {pid}  {tag}{port}"))
            }
            Event::Serving { instance, .. } => {
                let pid = self.row(*instance).pid;
                Some(format!("worker {instance}  ready    pid {pid}"))
            }
            Event::AllReady => self.listening.map(|listening| self.hints(listening)),
            Event::Killed { instance, .. } => {
                self.row(*instance).killed = true;
                let pid = self.row(*instance).pid;
                self.stopping.then(|| format!("worker {instance}  killed   pid {pid}"))
            }
            Event::Died { instance, status, .. } => {
                let patience = self.patience;
                let row = self.row(*instance);
                row.end = match row.killed {
                    true => format!("not ready within {patience:?}, killed"),
                    false => status.to_string(),
                };
                None
            }
            Event::NotStarted { instance, error } => {
                *self.row(*instance) = Row { end: format!("cannot start: {error}"), ..Row::default() };
                None
            }
            Event::RestartingIn { instance, delay } => {
                let Row { pid, end, .. } = self.row(*instance);
                let what = if *pid == 0 { "failed".to_owned() } else { format!("ended    pid {pid}") };
                Some(format!("worker {instance}  {what}  {end}; starts again in {delay:?}"))
            }
            Event::Draining { instance, .. } => {
                let pid = self.row(*instance).pid;
                Some(format!("worker {instance}  drains   pid {pid}"))
            }
            Event::GaveUp { instance } => {
                let Row { pid, end, .. } = self.row(*instance);
                Some(format!("worker {instance}  given up  pid {pid}  {end}"))
            }
            Event::Load { .. }
            | Event::Returned(_)
            | Event::Stopped
            | Event::Asks { .. }
            | Event::PlainReady { .. }
            | Event::PlainLoad { .. }
            | Event::PlainGone { .. }
            | Event::Unfit { .. }
            | Event::Gone { .. } => None,
            Event::Reloaded { complete } => complete.then(|| "reloaded".to_owned()),
        }
    }

    fn hints(&self, listening: SocketAddr) -> String {
        let pid = self.rows.values().next().map_or(0, |row| row.pid);
        let refuge = if self.instances > 1 { "move to another worker" } else { "come back to its successor" };
        format!(
            "\nopen    {:31} (two windows, and chat)\ntry     {:31} (its clients {refuge})\nstop    Ctrl-C",
            url(listening),
            format!("kill -9 {pid}"),
        )
    }

    fn row(&mut self, instance: u32) -> &mut Row {
        self.rows.entry(instance).or_default()
    }
}

/// The first line: what is about to run.
pub(crate) fn headline(plan: &Plan) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let workers = count(plan.instances.get() as usize, "worker");
    format!("sockeye {}: {workers}, {} each", env!("CARGO_PKG_VERSION"), count(plan.threads.get(), "thread"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::UpFlags;
    use std::io;
    use std::num::NonZeroUsize;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn a_death_is_told_once_with_its_reason_and_the_delay() {
        let mut screen = screen();
        check(&mut screen, &Event::Started { instance: 1, pid: 7 }, None);
        check(&mut screen, &Event::Died { instance: 1, pid: 7, status: ExitStatus::from_raw(9) }, None);
        check(
            &mut screen,
            &Event::RestartingIn { instance: 1, delay: Duration::from_millis(100) },
            Some("worker 1  ended    pid 7  signal: 9 (SIGKILL); starts again in 100ms"),
        );
        let error = io::Error::new(io::ErrorKind::NotFound, "no such file");
        check(&mut screen, &Event::NotStarted { instance: 1, error }, None);
        check(
            &mut screen,
            &Event::RestartingIn { instance: 1, delay: Duration::from_millis(1600) },
            Some("worker 1  failed  cannot start: no such file; starts again in 1.6s"),
        );
    }

    #[test]
    fn the_first_line_and_the_last_say_what_runs_and_what_to_try() {
        assert!(headline(&plan()).ends_with(": 2 workers, 1 thread each"), "{}", headline(&plan()));
        let mut screen = screen();
        check(&mut screen, &Event::Started { instance: 0, pid: 4242 }, None);
        let hints = "\n\
            open    http://127.0.0.1:3000/          (two windows, and chat)\n\
            try     kill -9 4242                    (its clients move to another worker)\n\
            stop    Ctrl-C";
        check(&mut screen, &Event::AllReady, Some(hints));
    }

    #[track_caller]
    fn check(screen: &mut Screen, event: &Event, said: Option<&str>) {
        assert_eq!(screen.handle_event(event).as_deref(), said);
    }

    fn screen() -> Screen {
        Screen::new(&plan().recipe(false), String::new(), "127.0.0.1:3000".parse().ok())
    }

    fn plan() -> Plan {
        Plan::settle(&UpFlags::typed(&["-i", "2"]), NonZeroUsize::new(2).unwrap()).unwrap()
    }
}
