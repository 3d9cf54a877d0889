//! The list of all instances, from the file and the keepers themselves: no daemon is needed for it, and none is started.

use std::time::Duration;

use rustix::process::geteuid;
use serde::Serialize;

use crate::daemon::registry::{App, Registry};
use crate::daemon::store;
use crate::keeper::words::{Question, Status, WorkerStatus};
use crate::places::Places;
use crate::talk;

/// How long a keeper may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// One instance.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// `fork` or `cluster`.
    pub(crate) mode: &'static str,
    pub(crate) instance: u32,
    pub(crate) pid: Option<u32>,
    /// In milliseconds.
    pub(crate) uptime: Option<u64>,
    pub(crate) restarts: u64,
    pub(crate) unstable_restarts: u32,
    pub(crate) status: String,
    /// In percent of one processor.
    pub(crate) cpu: f64,
    /// In bytes.
    pub(crate) memory: u64,
    pub(crate) user: String,
    pub(crate) watching: bool,
    pub(crate) sessions: u32,
    pub(crate) port: Option<u16>,
    /// Public addresses of the app.
    pub(crate) listening: Vec<String>,
    pub(crate) exit: Option<String>,
    pub(crate) keeper: Option<u32>,
}

/// Apps with the keepers that live, and what these say. One that says nothing was stopped by a signal, or cannot be reached.
pub(crate) type Known = Vec<(App, Option<Status>)>;

/// All apps with what their keepers say of them.
pub(crate) fn apps(places: &Places) -> anyhow::Result<(Registry, Known)> {
    let registry = store::read(&places.list())?;
    let is_this_boot = registry.boot == store::boot();
    let ask = |app: &App| {
        let is_alive = is_this_boot && app.keeper.is_some_and(|keeper| keeper.is_alive());
        is_alive.then(|| talk::ask(&places.keeper(app.key), &Question::Status, STATUS_TIMEOUT).ok())?
    };
    let known = |app: &App| {
        let status = ask(app);
        let keeper = app.keeper.filter(|keeper| is_this_boot && keeper.is_alive());
        (App { keeper, ..app.clone() }, status)
    };
    let apps = registry.apps.iter().map(known).collect();
    Ok((registry, apps))
}

/// A row for each instance, by id.
pub(crate) fn rows(places: &Places) -> anyhow::Result<Vec<Row>> {
    let (_, apps) = apps(places)?;
    let user = user();
    let mut rows: Vec<_> =
        apps.iter().flat_map(|(app, status)| of_app(app, status.as_ref(), &user)).collect();
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

/// The rows of one app.
pub(crate) fn of_app(app: &App, status: Option<&Status>, user: &str) -> Vec<Row> {
    let row = |(place, id): (&u32, &u32)| {
        let worker: Option<&WorkerStatus> =
            status.and_then(|status| status.workers.iter().find(|worker| worker.place == *place));
        let spec = &app.launch.spec;
        Row {
            id: *id,
            name: app.launch.name.clone(),
            namespace: spec.namespace.clone(),
            mode: if app.launch.is_cluster() { "cluster" } else { "fork" },
            instance: *place,
            pid: worker.and_then(|worker| worker.pid),
            uptime: worker.and_then(|worker| worker.uptime),
            restarts: worker.map_or(0, |worker| worker.restarts),
            unstable_restarts: worker.map_or(0, |worker| worker.unstable_restarts),
            status: match (worker, status, app.keeper) {
                (Some(worker), ..) => worker.status.clone(),
                // Its keeper lives and does not say how it is.
                (None, None, Some(_)) => "unknown".to_owned(),
                (None, ..) => "stopped".to_owned(),
            },
            cpu: worker.map_or(0.0, |worker| worker.cpu),
            memory: worker.map_or(0, |worker| worker.memory),
            user: spec.user.clone().unwrap_or_else(|| user.to_owned()),
            watching: !spec.watch.paths.is_empty(),
            sessions: worker.map_or(0, |worker| worker.sessions),
            port: worker.and_then(|worker| worker.port),
            listening: status.iter().flat_map(|status| &status.listening).map(ToString::to_string).collect(),
            exit: worker.and_then(|worker| worker.exit.clone()),
            keeper: status.map(|status| status.keeper).or(app.keeper).map(|keeper| keeper.pid),
        }
    };
    app.ids.iter().map(row).collect()
}

/// The name of whoever runs this.
pub(crate) fn user() -> String {
    let own = geteuid().as_raw().to_string();
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut names = list.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == own).then(|| name.to_owned())
    });
    names.next().unwrap_or(own)
}
