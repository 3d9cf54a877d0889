//! The supervisor with real processes: the players are in `examples/stage.rs`, or small shell programs.
#![expect(clippy::unwrap_used, reason = "the helpers of tests panic as the tests do")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects and refuses the rest")]

mod house;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use house::{Ending, House, client, names, numbers_in, read, soon, stage, supervise};
use sockeye_supervisor::{Event, Ports, RuntimeDir, StartError};

#[tokio::test]
async fn workers_start_become_ready_and_answer() {
    let mut house = House::new(stage("worker"), |config| {
        config.instances = 3.try_into().unwrap();
        config.ports = Some(Ports { host: [127, 0, 0, 1].into(), first: 4000 });
        config.threads = 2.try_into().ok();
    });
    let workers = house.all_ready(3).await;
    let pids: BTreeSet<_> = workers.iter().map(|worker| worker.pid).collect();
    let tags: BTreeSet<_> = workers.iter().map(|worker| worker.tag.clone()).collect();
    assert_eq!((pids.len(), tags.len()), (3, 3));
    assert_eq!(house.supervisor.stats().ready, 3);
    for worker in &workers {
        let (tcp, connection) = client(b"hello");
        worker.handover.pass(connection).unwrap();
        assert_eq!(read(tcp).await, format!("{}:hello", worker.instance));
        let (tag, port) = (&worker.tag, 4000 + worker.instance);
        let line = format!(
            "worker {} | serving as {tag} with port Some({port}) and Some(2) threads",
            worker.instance
        );
        house.line(&line).await;
    }
    let Event::Load { load, .. } = house.until(|event| matches!(event, Event::Load { .. })).await else {
        panic!()
    };
    assert_eq!((load.sessions, load.arrived), (0, 1));
}

#[tokio::test]
async fn a_stop_leaves_no_process_and_no_file() {
    let mut house = House::new(stage("worker"), |config| config.instances = 2.try_into().unwrap());
    let workers = house.all_ready(2).await;
    let endings: Vec<_> = workers.iter().map(|worker| Ending::of(worker.pid)).collect();
    assert_eq!(names(house.base()).len(), 1);
    house.supervisor.stop(Duration::ZERO);
    for _ in 0..2 {
        let event = house.until(|event| matches!(event, Event::Died { .. })).await;
        assert!(
            matches!(event, Event::Died { status, .. } if status.success()),
            "it could close in order: {event:?}"
        );
    }
    house.until(|event| matches!(event, Event::Stopped)).await;
    assert!(soon(house.supervisor.next()).await.is_none());
    for ending in endings {
        assert!(ending.is_over(), "Stopped is told when all are reaped");
    }
    assert_eq!(names(house.base()), [""; 0]);
}

#[tokio::test]
async fn a_drain_ends_a_worker_that_has_no_session_left() {
    let mut house = House::new(stage("worker"), |_| {});
    let worker = house.all_ready(1).await.remove(0);
    house.supervisor.stop(Duration::from_secs(3600));
    assert!(matches!(
        house.until(|event| matches!(event, Event::Draining { .. })).await,
        Event::Draining { instance: 0, within: None }
    ));
    let (_client, connection) = client(b"");
    assert!(worker.handover.pass(connection).is_err(), "a worker that drains takes nothing");
    house.supervisor.stop(Duration::ZERO);
    house.until(|event| matches!(event, Event::Stopped)).await;
}

#[tokio::test]
async fn a_killed_worker_gives_back_its_connections_and_is_restarted() {
    let mut house = House::new(stage("worker"), |config| config.instances = 2.try_into().unwrap());
    let workers = house.all_ready(2).await;
    let (victim, other) = (&workers[0], &workers[1]);
    // It does not run, so it cannot receipt.
    victim.signal(rustix::process::Signal::STOP);
    let mut clients = Vec::new();
    for n in 0..200 {
        let (tcp, connection) = client(format!("{n}").as_bytes());
        victim.handover.pass(connection).unwrap();
        clients.push(tcp);
    }
    victim.signal(rustix::process::Signal::KILL);
    let (mut returned, mut seen) = (0, Vec::new());
    while returned < 200 || seen.len() < 4 {
        match house.next().await {
            Event::Returned(connection) => {
                returned += 1;
                other.handover.pass(connection).unwrap();
            }
            Event::Died { instance: 0, pid, status } => {
                assert_eq!((pid, status.signal()), (victim.pid, Some(9)));
                seen.push("died");
            }
            Event::RestartingIn { instance: 0, delay } => {
                assert_eq!(delay, Duration::from_millis(100));
                seen.push("restarting");
            }
            Event::Started { instance: 0, pid } => {
                assert_ne!(pid, victim.pid);
                seen.push("started");
            }
            Event::Ready { instance: 0, tag, .. } => {
                assert_ne!(tag, victim.tag);
                seen.push("ready");
            }
            Event::Load { .. } => {}
            event => panic!("unexpected {event:?}"),
        }
    }
    assert_eq!(seen, ["died", "restarting", "started", "ready"]);
    for (n, tcp) in clients.into_iter().enumerate() {
        assert_eq!(read(tcp).await, format!("{}:{n}", other.instance));
    }
    let sockets = names(&house.supervisor.directory().path().join("http"));
    assert_eq!(sockets.len(), 2, "what the dead one left is removed: {sockets:?}");
    assert_eq!(house.supervisor.stats().restarts, 1);
}

#[tokio::test]
async fn one_that_fails_at_once_is_restarted_slower_each_time() {
    let mut house =
        House::new(["sh", "-c", "echo bad news >&2; exit 3"].map(Into::into).to_vec(), |config| {
            config.timing.restart_delay_min = Duration::from_millis(2);
        });
    for delay in [2, 4, 8, 16] {
        house.line("worker 0 | bad news").await;
        let Event::Died { status, .. } = house.until(|event| matches!(event, Event::Died { .. })).await
        else {
            panic!()
        };
        assert_eq!(status.code(), Some(3));
        let event = house.until(|event| matches!(event, Event::RestartingIn { .. })).await;
        assert!(
            matches!(event, Event::RestartingIn { delay: d, .. } if d == Duration::from_millis(delay)),
            "{event:?}"
        );
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_tried_again_and_can_be_given_up() {
    let mut house = House::new(vec!["/nonexistent/program".into()], |_| {});
    let event = house.until(|event| matches!(event, Event::NotStarted { .. })).await;
    assert!(matches!(event, Event::NotStarted { error, .. } if error.kind() == std::io::ErrorKind::NotFound));
    house.until(|event| matches!(event, Event::RestartingIn { .. })).await;
    house.supervisor.stop(Duration::ZERO);
    house.until(|event| matches!(event, Event::Stopped)).await;
}

#[tokio::test]
async fn one_that_says_nothing_is_killed_after_the_ready_timeout() {
    let deaf = [stage("worker"), vec!["deaf".into()]].concat();
    let mut house = House::new(deaf, |config| config.timing.ready_timeout = Duration::from_millis(20));
    house.until(|event| matches!(event, Event::Killed { instance: 0, .. })).await;
    let event = house.until(|event| matches!(event, Event::Died { .. })).await;
    assert!(matches!(event, Event::Died { status, .. } if status.signal() == Some(9)));
    house.until(|event| matches!(event, Event::RestartingIn { .. })).await;
    assert_eq!(house.supervisor.stats().overdue, 1);
}

#[tokio::test]
async fn one_that_will_not_end_is_killed_with_all_its_group() {
    let stubborn = "trap '' TERM; (trap '' TERM; while :; do sleep 1000; done) & echo $$ $!; wait";
    let mut house = House::new(["sh", "-c", stubborn].map(Into::into).to_vec(), |config| {
        config.timing.kill_timeout = Duration::from_millis(20);
    });
    let pids = numbers_in(&house.any_line().await);
    let endings: Vec<_> = pids.iter().skip(1).map(|pid| Ending::of(*pid)).collect();
    assert_eq!(endings.len(), 2);
    house.supervisor.stop(Duration::ZERO);
    house.until(|event| matches!(event, Event::Killed { .. })).await;
    house.until(|event| matches!(event, Event::Stopped)).await;
    for ending in endings {
        soon(ending.wait()).await;
    }
}

#[tokio::test]
async fn what_a_dead_worker_left_in_its_group_is_killed() {
    let mut house =
        House::new(["sh", "-c", "sleep 1000 & echo $!; exit 0"].map(Into::into).to_vec(), |config| {
            config.timing.restart_delay_min = Duration::from_secs(3600);
            config.timing.restart_delay_max = Duration::from_secs(3600);
        });
    let pid = numbers_in(&house.any_line().await)[1];
    // It may be over already, and then there is nothing to wait for.
    let ending = Ending::try_of(pid);
    house.until(|event| matches!(event, Event::Died { .. })).await;
    if let Some(ending) = ending {
        soon(ending.wait()).await;
    }
}

#[tokio::test]
async fn a_supervisor_that_is_dropped_takes_all_with_it() {
    let mut house = House::new(stage("worker"), |config| config.instances = 2.try_into().unwrap());
    let endings: Vec<_> = house.all_ready(2).await.iter().map(|worker| Ending::of(worker.pid)).collect();
    let House { supervisor, base, .. } = house;
    drop(supervisor);
    assert!(endings.iter().all(Ending::is_over));
    assert_eq!(names(base.path()), [""; 0]);
}

#[tokio::test]
async fn too_few_ports_are_refused() {
    let ports = Ports { host: [127, 0, 0, 1].into(), first: 65_535 };
    let config = House::config(stage("worker"), |config| {
        config.instances = 2.try_into().unwrap();
        config.ports = Some(ports);
    });
    let base = tempfile::tempdir().unwrap();
    let result = supervise(config, base.path());
    assert!(matches!(result, Err(StartError::Ports { first: 65_535, instances: 2 })));
}

#[tokio::test]
async fn when_the_parent_is_killed_workers_end_and_the_next_parent_sweeps() {
    let base = tempfile::tempdir().unwrap();
    let mut parent = house::Parent::new(2, base.path(), stage("worker"));
    let lines = parent.until("AllReady").await;
    let endings = house::started(&lines);
    assert_eq!(endings.len(), 2);
    parent.kill().await;
    for ending in endings {
        soon(ending.wait()).await;
    }
    assert_eq!(names(base.path()).len(), 1);
    let next = RuntimeDir::create_in(base.path()).unwrap();
    assert_eq!(names(base.path()), [next.path().file_name().unwrap().to_str().unwrap()]);
}

#[tokio::test]
async fn when_the_parent_is_killed_tethered_programs_end() {
    let base = tempfile::tempdir().unwrap();
    // It says its line only after the tether was made: exec keeps it.
    let program = ["OWN_PID", "--", "sh", "-c", "echo tied; exec sleep 1000"].map(Into::into).to_vec();
    let mut parent = house::Parent::new(1, base.path(), [stage("tether"), program].concat());
    let mut lines = parent.until("worker 0 | tied").await;
    if house::started(&lines).is_empty() {
        lines = parent.until("Started").await;
    }
    let endings = house::started(&lines);
    parent.kill().await;
    for ending in endings {
        soon(ending.wait()).await;
    }
}

#[tokio::test]
async fn a_tether_to_a_stranger_is_refused() {
    let program = ["1", "--", "true"].map(Into::into).to_vec();
    let mut house = House::new([stage("tether"), program].concat(), |_| {});
    let line = house.any_line().await;
    assert!(line.contains("expected process 1 as parent"), "{line}");
}

/// The death of the thread that *asks* for a process must not kill what is tethered: only the forking thread counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_tethered_program_outlives_the_thread_that_asked_for_it() {
    let own = std::process::id().to_string();
    let answer = "trap 'echo still here' USR1; echo up; while :; do sleep 0.01; done";
    let program = [&own, "--", "sh", "-c", answer].map(Into::into).to_vec();
    let mut house = House::new([stage("tether"), program].concat(), |_| {});
    let runtime = tokio::runtime::Handle::current();
    let asking = std::thread::spawn(move || {
        let event = runtime.block_on(house.until(|event| matches!(event, Event::Started { .. })));
        let Event::Started { pid, .. } = event else { panic!("unexpected {event:?}") };
        (house, pid)
    });
    let (mut house, pid) = tokio::task::spawn_blocking(|| asking.join().unwrap()).await.unwrap();
    house.line("worker 0 | up").await;
    house::signal(pid, rustix::process::Signal::USR1);
    house.line("worker 0 | still here").await;
}
