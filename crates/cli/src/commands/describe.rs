//! `sockeye describe` and `sockeye env`: all that is known of an app, and the variables it runs with. Secrets are masked.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};
use sockeye_supervisor::{Stream, log};

use crate::apps::{Shape, Targets, mask, rows, say, say_json, table};
use crate::daemon::registry::App;
use crate::exit;
use crate::holder;
use crate::keeper::words::Status;
use crate::places::Places;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) fn describe(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    let found = find(&places, &flags.targets.targets)?;
    let described: Vec<_> = found.iter().map(|(app, status)| value(app, status.as_ref(), &places)).collect();
    if flags.shape.json {
        say_json(&described);
    } else {
        for (index, app) in described.iter().enumerate() {
            if index > 0 {
                say("");
            }
            say(&lines(app));
        }
    }
    Ok(ExitCode::from(exit::OK))
}

pub(crate) fn env(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    let found = find(&places, &flags.targets.targets)?;
    for (app, _) in &found {
        let shown = app.launch.environment().into_iter().map(|(name, value)| {
            let value = mask::shown(&name, &value);
            (name, value)
        });
        if flags.shape.json {
            let env: BTreeMap<_, _> = shown.collect();
            say_json(&json!({ "name": app.launch.name, "env": env }));
        } else {
            shown.for_each(|(name, value)| say(&format!("{name}={value}")));
        }
    }
    Ok(ExitCode::from(exit::OK))
}

fn find(places: &Places, words: &[String]) -> anyhow::Result<rows::Known> {
    let (registry, apps) = rows::apps(places)?;
    let targets = registry.select(words).map_err(|error| anyhow!(error))?;
    Ok(apps.into_iter().filter(|(app, _)| targets.iter().any(|target| target.key == app.key)).collect())
}

fn value(app: &App, status: Option<&Status>, places: &Places) -> Value {
    let launch = &app.launch;
    let mut spec = serde_json::to_value(&launch.spec).unwrap_or_default();
    // Variables are shown by `env`, and there without secrets.
    if let Value::Object(spec) = &mut spec {
        spec.remove("env");
        spec.remove("profile");
        spec.insert("args".to_owned(), mask::arguments(&launch.spec.args).into());
        spec.insert("interpreter_args".to_owned(), mask::arguments(&launch.spec.interpreter_args).into());
    }
    let program = launch.program().ok();
    let files = |place: u32, stream| log::path(&launch.name, &launch.spec.log, &places.logs(), place, stream);
    let logs: Vec<_> =
        app.ids.keys().flat_map(|place| [files(*place, Stream::Out), files(*place, Stream::Error)]).collect();
    json!({
        "name": launch.name,
        "namespace": launch.spec.namespace,
        "wanted": app.wanted,
        "program": program.as_ref().map(|program| &program.program),
        "args": program.as_ref().map(|program| mask::arguments(&program.args)),
        "cwd": launch.directory(),
        "listening": status.map(|status| &status.listening),
        "sessions": status.map(|status| status.workers.iter().map(|worker| u64::from(worker.sessions)).sum::<u64>()),
        "relayed": status.map(|status| status.relayed),
        "trouble": status.and_then(|status| status.trouble.as_ref()),
        "logs": logs,
        "instances": rows::of_app(app, status, &rows::user()),
        "spec": spec,
    })
}

fn lines(app: &Value) -> String {
    let mut lines = Vec::new();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    };
    for key in
        ["name", "namespace", "program", "args", "cwd", "listening", "sessions", "relayed", "trouble", "logs"]
    {
        lines.push(vec![key.to_owned(), text(&app[key])]);
    }
    if let Value::Object(spec) = &app["spec"] {
        lines.extend(
            spec.iter()
                .filter(|(key, _)| *key != "args")
                .map(|(key, value)| vec![format!("spec.{key}"), text(value)]),
        );
    }
    for instance in app["instances"].as_array().into_iter().flatten() {
        for key in [
            "id",
            "pid",
            "status",
            "uptime",
            "restarts",
            "unstable_restarts",
            "cpu",
            "memory",
            "sessions",
            "port",
            "exit",
        ] {
            lines.push(vec![format!("instance {}.{key}", instance["instance"]), text(&instance[key])]);
        }
    }
    table::align(&lines)
}
