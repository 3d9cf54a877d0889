//! What a fleet does with several workers, in rows.

use super::*;
use FleetOutput::{AllReady, AllStopped, Gone, Reloaded, Worker as One};

#[test]
fn all_start_and_when_the_last_is_ready_it_is_told_once() {
    let (mut fleet, now) = (fleet(2), Instant::now());
    fleet.handle_start(now);
    assert_eq!(outputs(&mut fleet), [One(0, Output::Spawn), One(1, Output::Spawn)]);
    become_ready(&mut fleet, 1, now);
    assert_eq!(outputs(&mut fleet), [One(1, Output::Ready)]);
    become_ready(&mut fleet, 0, now);
    assert_eq!(outputs(&mut fleet), [One(0, Output::Ready), AllReady]);
    fleet.handle_worker(1, now, |worker| worker.handle_exited(None, now));
    fleet.handle_timeout(now + Duration::from_millis(100));
    become_ready(&mut fleet, 1, now);
    let delay = Duration::from_millis(100);
    assert_eq!(
        outputs(&mut fleet),
        [One(1, Output::RestartingIn(delay)), One(1, Output::Spawn), One(1, Output::Ready)]
    );
    assert_eq!(fleet.stats(), Stats { starts: 3, restarts: 1, overdue: 0, ready: 2 });
}

#[test]
fn the_next_timeout_is_the_earliest() {
    let (mut fleet, now) = (fleet(2), Instant::now());
    fleet.handle_start(now);
    assert_eq!(fleet.poll_timeout(), None);
    fleet.handle_worker(0, now, |worker| worker.handle_spawned(now));
    assert_eq!(fleet.poll_timeout(), Some(now + Duration::from_secs(30)));
    fleet.handle_worker(1, now, |worker| worker.handle_spawn_failed(now));
    assert_eq!(fleet.poll_timeout(), Some(now + Duration::from_millis(100)));
}

#[test]
fn it_is_over_when_the_last_is_gone() {
    let (mut fleet, now) = (fleet(3), Instant::now());
    fleet.handle_start(now);
    become_ready(&mut fleet, 0, now);
    fleet.handle_worker(0, now, Worker::handle_linked);
    become_ready(&mut fleet, 1, now);
    fleet.handle_worker(2, now, |worker| worker.handle_spawn_failed(now));
    outputs(&mut fleet);
    fleet.handle_stop(Duration::ZERO, now);
    assert_eq!(
        outputs(&mut fleet),
        [One(0, Output::Stop), One(1, Output::Terminate), One(2, Output::Stopped)]
    );
    fleet.handle_worker(0, now, |worker| worker.handle_exited(None, now));
    assert_eq!(outputs(&mut fleet), [One(0, Output::Stopped)]);
    fleet.handle_kill(now);
    assert_eq!(outputs(&mut fleet), [One(1, Output::Kill)]);
    fleet.handle_worker(1, now, |worker| worker.handle_exited(None, now));
    assert_eq!(outputs(&mut fleet), [One(1, Output::Stopped), AllStopped]);
    fleet.handle_stop(Duration::ZERO, now);
    assert_eq!(outputs(&mut fleet), []);
}

#[test]
fn a_word_about_a_stranger_changes_nothing() {
    let (mut fleet, now) = (fleet(1), Instant::now());
    fleet.handle_worker(1, now, |worker| worker.handle_start(now));
    assert_eq!(outputs(&mut fleet), []);
}

#[test]
fn a_reload_replaces_one_after_the_other_and_none_ends_before_its_successor_serves() {
    let (mut fleet, now) = (ready(2), Instant::now());
    fleet.handle_reload(DRAIN, now).unwrap();
    assert_eq!(fleet.handle_reload(DRAIN, now), Err(Busy));
    assert_eq!(fleet.handle_scale(NonZeroU32::MIN, DRAIN, now), Err(Busy));
    assert_eq!(outputs(&mut fleet), [One(2, Output::Spawn)]);
    assert_eq!((fleet.place(0), fleet.place(2)), (Some(0), Some(0)));
    become_ready(&mut fleet, 2, now);
    assert_eq!(outputs(&mut fleet), [One(2, Output::Ready), One(0, Output::Drain(DRAIN))]);
    fleet.handle_worker(0, now, |worker| worker.handle_load(0, now));
    assert_eq!(outputs(&mut fleet), [One(0, Output::Terminate)]);
    fleet.handle_worker(0, now, |worker| worker.handle_exited(Some(0), now));
    assert_eq!(outputs(&mut fleet), [One(0, Output::Stopped), One(3, Output::Spawn), Gone(0)]);
    become_ready(&mut fleet, 3, now);
    fleet.handle_worker(1, now, |worker| worker.handle_load(0, now));
    fleet.handle_worker(1, now, |worker| worker.handle_exited(Some(0), now));
    let expected = [
        One(3, Output::Ready),
        One(1, Output::Drain(DRAIN)),
        One(1, Output::Terminate),
        One(1, Output::Stopped),
        Reloaded(true),
        Gone(1),
    ];
    assert_eq!(outputs(&mut fleet), expected);
    assert_eq!(fleet.stats(), Stats { starts: 4, restarts: 0, overdue: 0, ready: 2 });
}

#[test]
fn a_reload_whose_successor_fails_leaves_all_others_as_they_are() {
    let (mut fleet, now) = (ready(2), Instant::now());
    fleet.handle_reload(DRAIN, now).unwrap();
    fleet.handle_worker(2, now, |worker| worker.handle_spawned(now));
    fleet.handle_worker(2, now, |worker| worker.handle_exited(Some(1), now));
    let delay = Duration::from_millis(100);
    let expected = [
        One(2, Output::Spawn),
        One(2, Output::RestartingIn(delay)),
        Reloaded(false),
        One(2, Output::Stopped),
        Gone(2),
    ];
    assert_eq!(outputs(&mut fleet), expected);
    assert!(!fleet.is_reloading());
    assert_eq!(fleet.stats().ready, 2);
}

#[test]
fn a_stop_in_the_midst_of_a_reload_ends_all() {
    let (mut fleet, now) = (ready(1), Instant::now());
    fleet.handle_reload(DRAIN, now).unwrap();
    outputs(&mut fleet);
    fleet.handle_stop(Duration::ZERO, now);
    assert_eq!(outputs(&mut fleet), [One(0, Output::Terminate)]);
    fleet.handle_worker(1, now, |worker| worker.handle_spawned(now));
    fleet.handle_worker(1, now, |worker| worker.handle_exited(None, now));
    fleet.handle_worker(0, now, |worker| worker.handle_exited(None, now));
    let expected =
        [One(1, Output::Terminate), One(1, Output::Stopped), Gone(1), One(0, Output::Stopped), AllStopped];
    assert_eq!(outputs(&mut fleet), expected);
    fleet.handle_start(now);
    assert_eq!(outputs(&mut fleet), [One(0, Output::Spawn)]);
}

#[test]
fn scaling_adds_at_free_places_and_takes_the_highest_away() {
    let (mut fleet, now) = (ready(2), Instant::now());
    fleet.handle_scale(NonZeroU32::new(3).unwrap(), DRAIN, now).unwrap();
    assert_eq!(outputs(&mut fleet), [One(2, Output::Spawn)]);
    become_ready(&mut fleet, 2, now);
    outputs(&mut fleet);
    fleet.handle_scale(NonZeroU32::MIN, DRAIN, now).unwrap();
    assert_eq!(outputs(&mut fleet), [One(1, Output::Drain(DRAIN)), One(2, Output::Drain(DRAIN))]);
    fleet.handle_timeout(now + DRAIN);
    fleet.handle_worker(2, now, |worker| worker.handle_exited(None, now));
    let expected = [One(1, Output::Terminate), One(2, Output::Terminate), One(2, Output::Stopped), Gone(2)];
    assert_eq!(outputs(&mut fleet), expected);
    // A place that is being left is free.
    fleet.handle_scale(NonZeroU32::new(2).unwrap(), DRAIN, now).unwrap();
    assert_eq!(outputs(&mut fleet), [One(3, Output::Spawn)]);
    assert_eq!(fleet.place(3), Some(1));
}

#[test]
fn a_restart_of_all_starts_the_stopped_too() {
    let (mut fleet, now) = (ready(2), Instant::now());
    fleet.handle_worker(1, now, |worker| worker.handle_stop(Duration::ZERO, now));
    fleet.handle_worker(1, now, |worker| worker.handle_exited(None, now));
    outputs(&mut fleet);
    fleet.handle_restart(now);
    assert_eq!(outputs(&mut fleet), [One(0, Output::Terminate), One(1, Output::Spawn)]);
}

const DRAIN: Duration = Duration::from_secs(10);

fn ready(instances: u32) -> Fleet {
    let (mut fleet, now) = (fleet(instances), Instant::now());
    fleet.handle_start(now);
    (0..instances).for_each(|instance| become_ready(&mut fleet, instance, now));
    outputs(&mut fleet);
    fleet
}

fn fleet(instances: u32) -> Fleet {
    Fleet::new(NonZeroU32::new(instances).unwrap(), &Timing::default(), &Policy::default())
}

fn become_ready(fleet: &mut Fleet, instance: u32, now: Instant) {
    fleet.handle_worker(instance, now, |worker| worker.handle_spawned(now));
    fleet.handle_worker(instance, now, |worker| worker.handle_ready(now));
}

fn outputs(fleet: &mut Fleet) -> Vec<FleetOutput> {
    std::iter::from_fn(|| fleet.poll_output()).collect()
}
