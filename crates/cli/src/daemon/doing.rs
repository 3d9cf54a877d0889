//! What each question changes: apps are started, stopped, replaced, scaled, and whoever has to be asked for the rest is named.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use sockeye_supervisor::{Launch, PROFILE_VARIABLE, check_profile, log};

use super::Daemon;
use super::registry::{App, Target, difference, in_order, scaled};
use super::steps::{Ask, KEEPER_TIMEOUT, Step, explained};
use super::words::AppDone;
use crate::keeper::words::{Question as ToKeeper, Status};
use crate::{talk, tenant};

impl Daemon {
    pub(super) async fn start(&mut self, launches: Vec<Launch>) -> anyhow::Result<Vec<Step>> {
        let launches = in_order(launches).map_err(|error| anyhow!(error))?;
        for (number, launch) in launches.iter().enumerate() {
            if launches[..number].iter().any(|other| other.name == launch.name) {
                bail!("two apps are called {}: give each a name of its own", launch.name);
            }
            launch.settle(tenant::cores()).with_context(|| launch.name.clone())?;
            if let (true, None, Some(runtime)) =
                (launch.is_cluster(), launch.port(), launch.takes_no_preload())
            {
                bail!(
                    "{}: {runtime} takes no preload, so several processes cannot share the port that the app asks for: name it with --port, and have the app listen on PORT, or leave -i out",
                    launch.name
                );
            }
            if self.registry.named(&launch.name).is_some_and(|app| app.keeper.is_some()) {
                bail!(
                    "{} runs already: sockeye restart {0} starts it anew, sockeye reload {0} without a gap; --name gives this one another name",
                    launch.name
                );
            }
            for name in &launch.spec.after {
                let is_there =
                    launches.iter().any(|other| other.name == *name) || self.registry.named(name).is_some();
                if !is_there {
                    bail!("{}: after: there is no app {name}", launch.name);
                }
            }
        }
        let mut steps = Vec::new();
        for launch in launches {
            let (name, after) = (launch.name.clone(), launch.spec.after.clone());
            let instances = launch.instances(tenant::cores()).get();
            let key = self.registry.put(launch, instances);
            let outcome = match self.await_all(&after).await {
                Ok(()) => self.launch(key).await,
                Err(error) => Err(error),
            };
            steps.push(self.step(key, &name, outcome.map(|()| ToKeeper::Settle)));
        }
        Ok(steps)
    }

    pub(super) async fn resume(
        &mut self,
        words: &[String],
        env: Option<&BTreeMap<String, String>>,
    ) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        self.check_profile(words, env)?;
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let is_running = self.registry.app(key).is_some_and(|app| app.keeper.is_some());
            let env = self.renew(key, env)?;
            let outcome = if is_running {
                let launch = self.registry.app(key).map(|app| Box::new(app.launch.clone()));
                Ok(ToKeeper::Restart { place, launch })
            } else {
                self.launch(key).await.map(|()| ToKeeper::Settle)
            };
            let mut step = self.step(key, &name, outcome);
            step.done.env = env;
            steps.push(step);
        }
        Ok(steps)
    }

    /// From here on apps are what a process file says now. What a reload cannot take on is told before anything is changed; a restart ends the keeper, which takes on all of it.
    pub(super) async fn revise(&mut self, launches: Vec<Launch>, reload: bool) -> anyhow::Result<()> {
        for launch in &launches {
            launch.settle(tenant::cores()).with_context(|| launch.name.clone())?;
            let running = self.registry.named(&launch.name).filter(|app| reload && app.keeper.is_some());
            let is_other = |app: &App| {
                app.launch.spec.log != launch.spec.log || app.launch.is_cluster() != launch.is_cluster()
            };
            if running.is_some_and(is_other) {
                bail!(
                    "{}: its log files changed, or whether instances are given: a reload cannot take that on, sockeye restart of the file does",
                    launch.name
                );
            }
        }
        for launch in launches {
            let instances = launch.instances(tenant::cores()).get();
            let Some(app) = self.registry.named(&launch.name) else {
                self.registry.put(launch, instances);
                continue;
            };
            let (key, runs, before) = (app.key, app.keeper.is_some(), app.instances);
            if runs && !reload {
                self.end(key).await.with_context(|| launch.name.clone())?;
            } else if runs && instances != before {
                self.ask(key, &ToKeeper::Scale { instances }).await.with_context(|| launch.name.clone())?;
            }
            // Its environment is the matter of whoever asks.
            let env = self.registry.app(key).map(|app| app.launch.env.clone()).unwrap_or_default();
            self.registry.put(Launch { env, ..launch }, instances);
        }
        self.save()
    }

    pub(super) async fn restart(
        &mut self,
        words: &[String],
        reload: bool,
        env: Option<&BTreeMap<String, String>>,
    ) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        self.check_profile(words, env)?;
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let difference = self.renew(key, env)?;
            let outcome = match self.registry.app(key) {
                Some(app) if app.keeper.is_some() => {
                    let launch = Some(Box::new(app.launch.clone()));
                    match (reload, place) {
                        (true, None) => Ok(ToKeeper::Reload { launch }),
                        (true, Some(_)) => {
                            Err(anyhow!("a reload replaces all instances of an app: name {name}"))
                        }
                        (false, place) => Ok(ToKeeper::Restart { place, launch }),
                    }
                }
                Some(_) | None => self.launch(key).await.map(|()| ToKeeper::Settle),
            };
            let mut step = self.step(key, &name, outcome);
            step.done.env = difference;
            steps.push(step);
        }
        Ok(steps)
    }

    pub(super) async fn stop(&mut self, words: &[String]) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let outcome = match place {
                Some(place) => self.ask(key, &ToKeeper::Stop { place: Some(place) }).await,
                None => self.end(key).await,
            };
            steps.push(one(&name, outcome));
        }
        Ok(steps)
    }

    pub(super) async fn delete(&mut self, words: &[String]) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let name = self.name(key);
            let outcome = match place {
                Some(_) => {
                    Err(anyhow!("that is one of several instances: sockeye scale {name} -1 takes one away"))
                }
                None => self.end(key).await,
            };
            if outcome.is_ok() {
                self.registry.remove(key);
                self.save()?;
            }
            steps.push(one(&name, outcome));
        }
        Ok(steps)
    }

    pub(super) async fn scale(&mut self, word: &str, number: &str) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(&[word.to_owned()])? {
            let app = self.registry.app(key).context("it was selected")?;
            let (name, before) = (app.launch.name.clone(), app.instances);
            if place.is_some() {
                bail!("that is one of several instances: name {name}");
            }
            let instances = scaled(before, number).map_err(|error| anyhow!(error))?;
            if app.keeper.is_some() {
                let outcome = self.ask(key, &ToKeeper::Scale { instances }).await;
                if outcome.is_ok() {
                    self.registry.resize(key, instances);
                    self.save()?;
                }
                steps.push(one(&name, outcome));
            } else {
                bail!("{name} does not run: start it with -i {instances}");
            }
        }
        Ok(steps)
    }

    /// Empties log files, also of apps that do not run.
    pub(super) async fn flush(&self, words: &[String]) -> anyhow::Result<Vec<Step>> {
        let mut steps = self.tell::<()>(words, |_| ToKeeper::Flush, |_, ()| {}).await?;
        for Step { done, .. } in &mut steps {
            let Some(app) = self.registry.named(&done.name).filter(|app| app.keeper.is_none()) else {
                continue;
            };
            let (launch, places) = (&app.launch, app.ids.keys().copied());
            let emptied = log::empty(&launch.name, &launch.spec.log, &self.places.logs(), places);
            done.error = emptied.err().map(|error| format!("a log file cannot be emptied: {error}"));
        }
        Ok(steps)
    }

    /// The same word to each; what comes back is noted.
    pub(super) async fn tell<T: DeserializeOwned>(
        &self,
        words: &[String],
        question: impl Fn(Option<u32>) -> ToKeeper,
        note: impl Fn(&mut AppDone, T),
    ) -> anyhow::Result<Vec<Step>> {
        let mut steps = Vec::new();
        for Target { key, place } in self.select(words)? {
            let mut app = AppDone::new(&self.name(key));
            let keeper = self.registry.app(key).and_then(|app| app.keeper);
            match talk::ask_async(&self.places.keeper(key), &question(place), KEEPER_TIMEOUT).await {
                Ok(value) => note(&mut app, value),
                Err(_) if keeper.is_none() => app.error = Some("it does not run".to_owned()),
                Err(error) => app.error = Some(format!("{:#}", explained(error, keeper))),
            }
            steps.push(Step { done: app, ask: None });
        }
        Ok(steps)
    }

    /// What is left to do for an app.
    fn step(&self, key: u32, name: &str, outcome: anyhow::Result<ToKeeper>) -> Step {
        let mut done = AppDone::new(name);
        let ask = match outcome {
            Ok(question) => {
                let keeper = self.registry.app(key).and_then(|app| app.keeper);
                Some(Ask { socket: self.places.keeper(key), keeper, question })
            }
            Err(error) => {
                done.error = Some(format!("{error:#}"));
                None
            }
        };
        Step { done, ask }
    }

    /// A profile that none of the apps has is a slip: nothing is changed. Of several, those that do not have it keep theirs.
    fn check_profile(&self, words: &[String], env: Option<&BTreeMap<String, String>>) -> anyhow::Result<()> {
        let Some(profile) = env.and_then(|env| env.get(PROFILE_VARIABLE)) else { return Ok(()) };
        let targets = self.select(words)?;
        let apps = targets.iter().filter_map(|target| self.registry.app(target.key));
        check_profile(profile, apps.map(|app| &app.launch.spec)).map_err(|error| anyhow!(error))
    }

    /// Takes the variables of a shell over, and says how they differ.
    fn renew(&mut self, key: u32, env: Option<&BTreeMap<String, String>>) -> anyhow::Result<Vec<String>> {
        let (Some(env), Some(app)) = (env, self.registry.app_mut(key)) else { return Ok(Vec::new()) };
        let mut env = env.clone();
        env.retain(|name, profile| name != PROFILE_VARIABLE || app.launch.spec.profile.contains_key(profile));
        // `PORT=8080 sockeye start app.js` says it of the app, and nobody types it again: without it the app would come back at another address.
        for name in [PROFILE_VARIABLE, "PORT"] {
            if let (None, Some(kept)) = (env.get(name), app.launch.env.get(name)) {
                env.insert(name.to_owned(), kept.clone());
            }
        }
        let difference = difference(&app.launch.env, &env);
        app.launch.env = env;
        self.save()?;
        Ok(difference)
    }
}

fn one(name: &str, outcome: anyhow::Result<Status>) -> Step {
    let mut done = AppDone::new(name);
    match outcome {
        Ok(status) => done.status = Some(status),
        Err(error) => done.error = Some(format!("{error:#}")),
    }
    Step { done, ask: None }
}
