//! What is run in the end: what a person says of an app and the shell in which it was said become a configuration. Pure, but for looking which files exist.
//!
//! Absent: the number of cores, the user's account (both are told), anything about a process that runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{Config, Policy, Timing};
use crate::spec::{AppSpec, ReadyBy};

/// An app as it is to run: what is said of it, and where it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Its name.
    pub name: String,
    /// What is said of it.
    pub spec: AppSpec,
    /// The directory in which it was said; `spec.cwd` counts from here.
    pub cwd: PathBuf,
    /// The variables of the shell in which it was said.
    pub env: BTreeMap<String, String>,
}

/// The program of an app and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What is executed.
    pub program: PathBuf,
    /// With these.
    pub args: Vec<String>,
    /// What it is.
    pub kind: Kind,
}

/// What a program is, as far as Node.js is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Node.js, which can talk to its parent.
    Node,
    /// What starts Node.js, such as npm.
    Launcher,
    /// A shell, which may.
    Shell,
    /// Anything else.
    Other,
}

impl Kind {
    fn of(program: &str) -> Self {
        match Path::new(program).file_name().and_then(|name| name.to_str()).unwrap_or_default() {
            "node" | "nodejs" | "tsx" => Self::Node,
            "npm" | "npx" | "pnpm" | "pnpx" | "yarn" | "yarnpkg" | "nodemon" | "ts-node" => Self::Launcher,
            "sh" | "bash" | "dash" | "zsh" => Self::Shell,
            _ => Self::Other,
        }
    }
}

/// Why an app cannot be run as it is said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// Nothing to run.
    #[error("command: expected a script or a program, got nothing")]
    Nothing,
    /// It is not there.
    #[error("command: there is no {0}, neither as a file nor as a program of PATH")]
    Missing(String),
    /// A word of the specification is wrong.
    #[error("{field}: {error}")]
    Field {
        /// Which one.
        field: &'static str,
        /// What is expected.
        error: String,
    },
}

impl Launch {
    /// Where it runs.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        match &self.spec.cwd {
            Some(cwd) => self.cwd.join(cwd),
            None => self.cwd.clone(),
        }
    }

    /// The same, whose log files are found from the directory where it runs.
    #[must_use]
    pub fn with_logs_from_its_directory(mut self) -> Self {
        let directory = self.directory();
        for path in [&mut self.spec.log.out, &mut self.spec.log.error].into_iter().flatten() {
            *path = directory.join(&*path);
        }
        self
    }

    /// Whether it is several behind one public port.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        self.spec.instances.is_some()
    }

    /// How many workers it has on a machine with that many cores.
    #[must_use]
    pub fn instances(&self, cores: NonZeroUsize) -> NonZeroU32 {
        self.spec.instances.map_or(NonZeroU32::MIN, |instances| instances.on(cores))
    }

    /// Every variable of its environment: what it says itself wins over the shell's.
    #[must_use]
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut all = self.env.clone();
        all.extend(self.spec.env.clone());
        if let Some(profile) = all.get(PROFILE_VARIABLE).and_then(|profile| self.spec.profile.get(profile)) {
            all.extend(profile.clone());
        }
        all
    }

    /// Whether it is a Node.js app of several copies, which ask for the public address by the preload. Of what a shell starts that is so where no port is named;
    /// where one is, each process gets a `PORT` of its own, and what is Node.js and listens there is taken on.
    #[must_use]
    pub fn is_preloaded(&self) -> bool {
        self.is_cluster()
            && match self.kind() {
                Kind::Node | Kind::Launcher => true,
                Kind::Shell => self.spec.port.is_none() && !self.environment().contains_key("PORT"),
                Kind::Other => false,
            }
    }

    /// Whether what it starts may be Node.js that is one of several: it gets the preload.
    #[must_use]
    pub fn takes_preload(&self) -> bool {
        self.is_cluster() && self.kind() != Kind::Other
    }

    /// The program, where it runs JavaScript and takes no preload: its copies cannot share the port that they ask for.
    #[must_use]
    pub fn takes_no_preload(&self) -> Option<&'static str> {
        let program = self.program().ok()?.program;
        let name = program.file_name()?.to_str()?;
        ["bun", "bunx", "deno"].into_iter().find(|one| *one == name)
    }

    fn kind(&self) -> Kind {
        self.program().map_or(Kind::Other, |program| program.kind)
    }

    /// The public port that somebody named: the app's own is not known here. A preloaded app hears `PORT` as it was said, and asks for what it makes of it.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let named = || self.environment().get("PORT").and_then(|port| port.parse().ok());
        self.spec.port.or_else(|| if self.is_preloaded() { None } else { named() })
    }

    /// The program that is executed.
    ///
    /// # Errors
    /// When there is none.
    pub fn program(&self) -> Result<Program, LaunchError> {
        program(self, &|path| path.is_file())
    }

    /// Everything that a supervisor needs to know, on a machine with that many cores.
    ///
    /// # Errors
    /// When the program is not there, or a field makes no sense.
    pub fn settle(&self, cores: NonZeroUsize) -> Result<Config, LaunchError> {
        let Program { program, args, kind } = self.program()?;
        let spec = &self.spec;
        if let Some(cron) = &spec.cron {
            cron.parse::<crate::cron::Cron>().map_err(|error| LaunchError::Field { field: "cron", error })?;
        }
        let mut config = Config::new(program);
        config.arguments = args.into_iter().map(OsString::from).collect();
        let mut environment = self.environment();
        let preloaded = self.is_preloaded();
        if let Some(port) = spec.port.filter(|_| preloaded || !self.is_cluster()) {
            environment.insert("PORT".to_owned(), port.to_string());
        }
        // Output is to be in the log when it is written.
        environment.entry("PYTHONUNBUFFERED".to_owned()).or_insert_with(|| "1".to_owned());
        config.environment =
            environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        config.inherit = false;
        config.input = true;
        config.directory = Some(self.directory());
        config.instances = self.instances(cores);
        config.linked = self.is_cluster();
        config.private_ports = self.is_cluster() && !preloaded && self.port().is_some();
        config.ipc = kind == Kind::Node;
        config.ready = spec.ready.clone();
        config.probe_port = self.port();
        if self.is_cluster() {
            let share = cores.get() / config.instances.get() as usize;
            config.threads = spec.threads.or(NonZeroUsize::new(share)).or(Some(NonZeroUsize::MIN));
        }
        if matches!(spec.ready, ReadyBy::Ipc) && kind != Kind::Node {
            let error = "ipc is for Node.js: choose notify, port or http:/PATH".to_owned();
            return Err(LaunchError::Field { field: "ready", error });
        }
        config.stop_signal = spec.stop_signal;
        config.shutdown_with_message = spec.shutdown_with_message;
        config.timing = Timing {
            ready_timeout: spec.ready_timeout.duration(),
            kill_timeout: spec.kill_timeout.duration(),
            restart_delay_min: spec.backoff.duration(),
            restart_delay_max: spec.backoff_max.max(spec.backoff).duration(),
            ..Timing::default()
        };
        config.policy = Policy {
            autorestart: spec.autorestart,
            restart_delay: spec.restart_delay.map(crate::spec::Span::duration),
            min_uptime: spec.min_uptime.duration(),
            max_restarts: Some(spec.max_restarts),
            stop_exit_codes: spec.stop_exit_codes.clone(),
        };
        if preloaded {
            if matches!(spec.ready, ReadyBy::Port(_) | ReadyBy::Http(_)) {
                // The port is the edge's, and open whoever serves: a copy says over the link when it listens.
                config.ready = ReadyBy::Auto;
            }
            config.policy.stop_exit_codes.push(EXIT_UNFIT);
        }
        Ok(config)
    }
}

/// How a copy of a Node.js app ends that cannot be one of several (`preload/listen.cjs`).
const EXIT_UNFIT: i32 = 78;

/// What `--env PROFILE` sets.
pub const PROFILE_VARIABLE: &str = "SOCKEYE_PROFILE_NAME";

/// Whether one of these apps has a profile of that name.
///
/// # Errors
/// Which ones there are.
pub fn check_profile<'a>(profile: &str, specs: impl IntoIterator<Item = &'a AppSpec>) -> Result<(), String> {
    let there: BTreeSet<&str> =
        specs.into_iter().flat_map(|spec| spec.profile.keys()).map(String::as_str).collect();
    if there.contains(profile) {
        return Ok(());
    }
    let there: Vec<_> = there.into_iter().collect();
    Err(match there.is_empty() {
        true => format!("profile {profile} is not there: the process file has none, so leave --env out"),
        false => format!("profile {profile} is not there: expected one of {}", there.join(", ")),
    })
}

/// The name of an app that has none: that of its script without its ending.
#[must_use]
pub fn name_of(command: &str) -> String {
    let path = Path::new(command);
    path.file_stem().map_or_else(|| command.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn program(launch: &Launch, exists: &dyn Fn(&Path) -> bool) -> Result<Program, LaunchError> {
    let spec = &launch.spec;
    if spec.command.is_empty() {
        return Err(LaunchError::Nothing);
    }
    let directory = launch.directory();
    let environment = launch.environment();
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    let find = |name: &str| {
        if name.contains('/') {
            return Some(directory.join(name)).filter(|path| exists(path));
        }
        path.split(':').map(|directory| Path::new(directory).join(name)).find(|path| exists(path))
    };
    let script = Some(directory.join(&spec.command)).filter(|path| exists(path));
    let ending = Path::new(&spec.command).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let by_ending = match ending {
        _ if script.is_none() => None,
        "js" | "mjs" | "cjs" => Some("node".to_owned()),
        "ts" | "mts" | "cts" | "tsx" => Some(tsx(&directory, exists, &find)),
        "py" => Some("python3".to_owned()),
        "sh" => Some("sh".to_owned()),
        _ => None,
    };
    let interpreter = match spec.interpreter.as_deref() {
        Some("none") => None,
        Some(named) => Some(named.to_owned()),
        None => by_ending,
    };
    let Some(interpreter) = interpreter else {
        let program = script
            .or_else(|| find(&spec.command))
            .ok_or_else(|| LaunchError::Missing(spec.command.clone()))?;
        return Ok(Program { kind: Kind::of(&spec.command), program, args: spec.args.clone() });
    };
    let script = script.ok_or_else(|| LaunchError::Missing(spec.command.clone()))?;
    let program = find(&interpreter).ok_or_else(|| LaunchError::Field {
        field: "interpreter",
        error: format!("there is no {interpreter}, neither as a file nor as a program of PATH"),
    })?;
    let mut args = spec.interpreter_args.clone();
    args.push(script.to_string_lossy().into_owned());
    args.extend(spec.args.iter().cloned());
    Ok(Program { kind: Kind::of(&interpreter), program, args })
}

/// TypeScript is run by the app's own tsx, else by that of the machine, else by Node.js, which can since 22.18.
fn tsx(directory: &Path, exists: &dyn Fn(&Path) -> bool, find: &dyn Fn(&str) -> Option<PathBuf>) -> String {
    let own = directory.ancestors().map(|up| up.join("node_modules/.bin/tsx")).find(|path| exists(path));
    match own {
        Some(own) => own.to_string_lossy().into_owned(),
        None => if find("tsx").is_some() { "tsx" } else { "node" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Instances;

    #[test]
    fn a_script_is_run_by_what_its_ending_says() {
        for (command, expected) in [
            ("app.js", "/bin/node /srv/app.js a"),
            ("app.mjs", "/bin/node /srv/app.mjs a"),
            ("app.py", "/bin/python3 /srv/app.py a"),
            ("app.sh", "/bin/sh /srv/app.sh a"),
            ("app.ts", "/srv/node_modules/.bin/tsx /srv/app.ts a"),
            ("/opt/own.js", "/bin/node /opt/own.js a"),
            ("server", "/srv/server a"),
            ("node", "/bin/node a"),
        ] {
            let Program { program, args, .. } = find(&launch(command)).unwrap();
            assert_eq!(format!("{} {}", program.display(), args.join(" ")), expected, "{command}");
        }
    }

    #[test]
    fn what_starts_node_is_known_by_its_name() {
        for (program, kind) in [
            ("node", Kind::Node),
            ("/opt/node-18/bin/node", Kind::Node),
            ("/srv/node_modules/.bin/tsx", Kind::Node),
            ("npm", Kind::Launcher),
            ("/usr/bin/yarn", Kind::Launcher),
            ("sh", Kind::Shell),
            ("/bin/bash", Kind::Shell),
            ("python3", Kind::Other),
            ("./server", Kind::Other),
            ("npm-check", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(program), kind, "{program}");
        }
    }

    #[test]
    fn what_a_shell_starts_is_taken_for_node_where_no_port_is_named() {
        // What runs it; whether a port is named; whether it takes the preload, and whether it asks for its address itself.
        for (interpreter, port, expected) in
            [("sh", false, (true, true)), ("sh", true, (true, false)), ("python3", false, (false, false))]
        {
            let mut launch = launch("/bin/true");
            launch.env.insert("PATH".to_owned(), "/bin:/usr/bin".to_owned());
            launch.spec.interpreter = Some(interpreter.to_owned());
            launch.spec.instances = Some(Instances::Max);
            if port {
                launch.env.insert("PORT".to_owned(), "3000".to_owned());
            }
            assert_eq!((launch.takes_preload(), launch.is_preloaded()), expected, "{interpreter} {port}");
        }
    }

    #[test]
    fn an_interpreter_that_is_named_wins() {
        let mut launch = launch("app.js");
        launch.spec.interpreter = Some("none".to_owned());
        assert_eq!(find(&launch).unwrap().program, Path::new("/srv/app.js"));
        launch.spec.interpreter = Some("python3".to_owned());
        launch.spec.interpreter_args = vec!["-u".to_owned()];
        let program = find(&launch).unwrap();
        assert_eq!(program.args, ["-u", "/srv/app.js", "a"]);
        assert_eq!(program.kind, Kind::Other);
        launch.spec.interpreter = Some("bun".to_owned());
        let error = find(&launch).unwrap_err().to_string();
        assert_eq!(error, "interpreter: there is no bun, neither as a file nor as a program of PATH");
    }

    #[test]
    fn what_is_not_there_is_said() {
        for (command, expected) in [
            ("", "command: expected a script or a program, got nothing"),
            ("gone.js", "command: there is no gone.js, neither as a file nor as a program of PATH"),
            ("./sh", "command: there is no ./sh, neither as a file nor as a program of PATH"),
        ] {
            assert_eq!(find(&launch(command)).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn what_an_app_says_wins_over_the_shell_and_its_profile_over_both() {
        let mut launch = launch("app.js");
        launch.env.insert("PORT".to_owned(), "4000".to_owned());
        launch.env.insert("A".to_owned(), "shell".to_owned());
        assert_eq!(launch.port(), Some(4000));
        launch.spec.env.insert("A".to_owned(), "app".to_owned());
        launch.spec.profile.insert("production".to_owned(), [("A".to_owned(), "profile".to_owned())].into());
        assert_eq!(launch.environment()["A"], "app");
        launch.env.insert(PROFILE_VARIABLE.to_owned(), "production".to_owned());
        assert_eq!(launch.environment()["A"], "profile");
        launch.spec.port = Some(5000);
        assert_eq!(launch.port(), Some(5000));
    }

    #[test]
    fn only_who_is_asked_for_several_times_gets_a_link_and_a_port() {
        let cores = NonZeroUsize::new(4).unwrap();
        let mut launch = launch("/bin/true");
        launch.spec.interpreter = Some("none".to_owned());
        let config = launch.settle(cores).unwrap();
        assert_eq!((config.linked, config.private_ports, config.instances.get()), (false, false, 1));
        launch.spec.instances = Some(Instances::Max);
        let config = launch.settle(cores).unwrap();
        assert_eq!((config.linked, config.private_ports, config.instances.get()), (true, false, 4));
        launch.spec.port = Some(3000);
        assert!(launch.settle(cores).unwrap().private_ports);
        launch.spec.cron = Some("soon".to_owned());
        let error = launch.settle(cores).unwrap_err().to_string();
        assert_eq!(error, "cron: expected five fields of cron such as 0 3 * * *, got soon");
    }

    #[test]
    fn a_name_is_that_of_the_script() {
        for (command, name) in
            [("app.js", "app"), ("./dist/server.mjs", "server"), ("/usr/bin/python3", "python3")]
        {
            assert_eq!(name_of(command), name);
        }
    }

    fn launch(command: &str) -> Launch {
        let mut spec = AppSpec::new(command);
        spec.args = vec!["a".to_owned()];
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        Launch { name: "app".to_owned(), spec, cwd: "/srv".into(), env }
    }

    fn find(launch: &Launch) -> Result<Program, LaunchError> {
        const FILES: [&str; 12] = [
            "/srv/app.js",
            "/srv/app.mjs",
            "/srv/app.py",
            "/srv/app.sh",
            "/srv/app.ts",
            "/opt/own.js",
            "/srv/server",
            "/srv/node_modules/.bin/tsx",
            "/bin/node",
            "/bin/python3",
            "/bin/sh",
            "/bin/tsx",
        ];
        program(launch, &|path| FILES.iter().any(|file| Path::new(file) == path))
    }
}
