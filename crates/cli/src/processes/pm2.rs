//! What an app of pm2's ecosystem means here. Pure: a JSON value in, apps and named warnings out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};
use sockeye_supervisor::{AppSpec, Instances, ReadyBy, StopSignal, name_of};

/// What was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Read {
    /// The apps, with their names.
    pub(super) apps: Vec<(String, AppSpec)>,
    /// What was passed over.
    pub(super) warnings: Vec<String>,
}

/// The apps of an ecosystem: an object with `apps`, a list of apps, or one app.
pub(super) fn read(value: &Value, profile: Option<&str>) -> Result<Read, String> {
    let mut read = Read::default();
    let top = value.as_object().filter(|top| top.contains_key("apps"));
    for key in top.iter().flat_map(|top| top.keys()).filter(|key| *key != "apps") {
        read.warnings.push(format!("{key} is not supported: it is passed over"));
    }
    let apps = list(top.map_or(value, |top| &top["apps"]));
    if !apps.iter().all(|app| app.is_object()) && !value.is_object() && !value.is_array() {
        return Err(format!("expected apps, got {value}"));
    }
    if apps.is_empty() {
        return Err("apps: expected at least one app, got none".to_owned());
    }
    let mut names: BTreeMap<String, u32> = BTreeMap::new();
    for app in apps {
        let Value::Object(app) = app else { return Err(format!("expected an app, got {app}")) };
        let mut reader =
            Reader { app, spec: AppSpec::default(), name: None, cluster: false, warnings: Vec::new() };
        let said = |key| app.get(key).and_then(Value::as_str);
        let whose = |error| match said("name").map(str::to_owned).or_else(|| said("script").map(name_of)) {
            Some(name) => format!("{name}: {error}"),
            None => error,
        };
        reader.read().map_err(whose)?;
        let name = reader.name.clone().unwrap_or_else(|| name_of(&reader.spec.command));
        if let Some(profile) = profile
            && !reader.spec.profile.contains_key(profile)
        {
            reader.warnings.push(format!("env_{profile} is not there"));
        }
        read.warnings.extend(reader.warnings.iter().map(|warning| format!("{name}: {warning}")));
        let count = names.entry(name.clone()).or_default();
        *count += 1;
        if *count > 1 {
            return Err(format!("two apps are called {name}: give each a name of its own"));
        }
        read.apps.push((name, reader.spec));
    }
    Ok(read)
}

struct Reader<'a> {
    app: &'a Map<String, Value>,
    spec: AppSpec,
    name: Option<String>,
    cluster: bool,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), String> {
        for (key, value) in self.app {
            self.key(key, value).map_err(|error| format!("{key}: {error}"))?;
        }
        if self.cluster && self.spec.instances.is_none() {
            self.spec.instances = "1".parse().ok();
        }
        if self.spec.command.is_empty() {
            return Err("script: expected a script or a program, got nothing".to_owned());
        }
        Ok(())
    }

    fn key(&mut self, key: &str, value: &Value) -> Result<(), String> {
        let spec = &mut self.spec;
        match key {
            "name" => self.name = Some(text(value)?),
            "script" => spec.command = text(value)?,
            "args" => spec.args = words(value)?,
            "cwd" => spec.cwd = Some(text(value)?.into()),
            "namespace" => spec.namespace = text(value)?,
            "interpreter" | "exec_interpreter" => spec.interpreter = Some(text(value)?),
            "interpreter_args" | "interpreterArgs" | "node_args" => spec.interpreter_args = words(value)?,
            "user" | "uid" => spec.user = Some(text(value)?),
            "port" => spec.port = Some(number(value)?),
            "exec_mode" => self.cluster |= text(value)?.starts_with("cluster"),
            "instances" => spec.instances = instances(value)?,
            "env" => spec.env = variables(value)?,
            "autorestart" => spec.autorestart = flag(value)?,
            "restart_delay" => spec.restart_delay = Some(text(value)?.parse()?),
            "exp_backoff_restart_delay" => spec.backoff = text(value)?.parse()?,
            "max_restarts" => spec.max_restarts = number(value)?,
            "min_uptime" => spec.min_uptime = text(value)?.parse()?,
            "stop_exit_codes" => {
                spec.stop_exit_codes = list(value).into_iter().map(number).collect::<Result<_, _>>()?
            }
            "kill_timeout" => spec.kill_timeout = text(value)?.parse()?,
            "listen_timeout" => spec.ready_timeout = text(value)?.parse()?,
            "kill_signal" | "stop_signal" => spec.stop_signal = text(value)?.parse::<StopSignal>()?,
            "shutdown_with_message" => spec.shutdown_with_message = flag(value)?,
            "wait_ready" => {
                if flag(value)? {
                    spec.ready = ReadyBy::Ipc;
                }
            }
            "max_memory_restart" => spec.max_memory = Some(text(value)?.parse()?),
            "cron_restart" | "cron" => spec.cron = Some(text(value)?),
            "watch" => {
                spec.watch.paths = match value.as_bool() {
                    Some(true) => vec![".".into()],
                    Some(false) => Vec::new(),
                    None => list(value)
                        .into_iter()
                        .map(|path| text(path).map(Into::into))
                        .collect::<Result<_, _>>()?,
                }
            }
            "ignore_watch" => {
                for pattern in list(value) {
                    spec.watch.ignore.push(text(pattern)?);
                }
            }
            "watch_delay" => spec.watch.delay = text(value)?.parse()?,
            "out_file" | "output" | "out" => spec.log.out = Some(log_file(value)?),
            "error_file" | "error" | "err" => spec.log.error = Some(log_file(value)?),
            "log_type" => spec.log.json = text(value)? == "json",
            "time" => spec.log.time = flag(value)?,
            "log_date_format" => {
                spec.log.time = true;
                self.warnings.push("log_date_format: times are written as RFC 3339".to_owned());
            }
            "disable_logs" => spec.log.files = !flag(value)?,
            _ => match key.strip_prefix("env_") {
                Some(profile) => {
                    self.spec.profile.insert(profile.to_owned(), variables(value)?);
                }
                None => self.warnings.push(format!("{key} is not supported: it is passed over")),
            },
        }
        Ok(())
    }
}

fn instances(value: &Value) -> Result<Option<Instances>, String> {
    match text(value)?.as_str() {
        // pm2: 0 is one a core.
        "0" => Ok(Some(Instances::Max)),
        "1" => Ok(None),
        other => other.parse().map(Some),
    }
}

fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

/// A list, or a text whose words are the list; quotes hold words together.
fn words(value: &Value) -> Result<Vec<String>, String> {
    if let Value::Array(items) = value {
        return items.iter().map(text).collect();
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in text(value)?.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn variables(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let Value::Object(variables) = value else { return Err(format!("expected variables, got {value}")) };
    let variable = |(name, value): (&String, &Value)| match text(value) {
        Ok(value) => Ok((name.clone(), value)),
        Err(error) => Err(format!("{name}: {error}, such as its JSON in quotes")),
    };
    variables.iter().map(variable).collect()
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(format!("expected a text, got {value}")),
    }
}

fn flag(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("expected true or false, got {value}"))
}

fn number<T: std::str::FromStr>(value: &Value) -> Result<T, String> {
    text(value)?.parse().map_err(|_| format!("expected a number, got {value}"))
}

/// pm2's `NULL` and `/dev/null` are one.
fn log_file(value: &Value) -> Result<PathBuf, String> {
    let name = text(value)?;
    Ok(if name == "NULL" { "/dev/null".into() } else { name.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_ecosystem_means_what_pm2_means_by_it() {
        let value = json!({ "apps": [{
            "name": "web", "script": "./app.js", "args": "--a 'b c' \"\"", "instances": "max", "exec_mode": "cluster",
            "env": { "A": 1 }, "env_production": { "A": "2" }, "max_memory_restart": "300M", "kill_timeout": 3000,
            "watch": ["src"], "wait_ready": true, "stop_exit_codes": [0, 143], "node_args": "--inspect",
        }, { "script": "job.py", "instances": 1, "cron_restart": "0 3 * * *", "autorestart": false }] });
        let Read { apps, warnings } = read(&value, Some("production")).unwrap();
        let (name, web) = &apps[0];
        assert_eq!((name.as_str(), web.instances), ("web", Some(Instances::Max)));
        assert_eq!(web.args, ["--a", "b c", ""]);
        assert_eq!((web.env["A"].as_str(), web.profile["production"]["A"].as_str()), ("1", "2"));
        assert_eq!((web.max_memory.unwrap().bytes(), web.kill_timeout.duration().as_secs()), (300 << 20, 3));
        assert_eq!((&web.ready, &web.stop_exit_codes[..]), (&ReadyBy::Ipc, &[0, 143][..]));
        let (name, job) = &apps[1];
        assert_eq!((name.as_str(), job.instances, job.autorestart), ("job", None, false));
        assert_eq!(warnings, ["job: env_production is not there"]);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let value = json!({ "apps": [{ "name": "a", "script": "a.js", "post_update": [], "merge_logs": true }], "deploy": {} });
        let expected = [
            "deploy is not supported: it is passed over",
            "a: merge_logs is not supported: it is passed over",
            "a: post_update is not supported: it is passed over",
        ];
        assert_eq!(read(&value, None).unwrap().warnings, expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (value, expected) in [
            (json!(7), "expected apps, got 7"),
            (json!({ "apps": [7] }), "expected an app, got 7"),
            (json!({ "apps": [] }), "apps: expected at least one app, got none"),
            (
                json!([{ "name": "a", "script": "a.js", "env": { "B": "1", "C": { "d": 1 } } }]),
                "a: env: C: expected a text, got {\"d\":1}, such as its JSON in quotes",
            ),
            (json!([{ "name": "a" }]), "a: script: expected a script or a program, got nothing"),
            (
                json!([{ "script": "a", "max_memory_restart": "much" }]),
                "a: max_memory_restart: expected a size such as 300M or 1G, got much",
            ),
            (
                json!([{ "script": "a" }, { "script": "b/a.js" }]),
                "two apps are called a: give each a name of its own",
            ),
        ] {
            assert_eq!(read(&value, None).unwrap_err(), expected);
        }
    }
}
