//! Choices and counts, in rows.

use proptest::prelude::*;

use super::count::SETTLE_TIME;
use super::*;
use crate::hash;

#[test]
fn a_hundred_at_once_are_split_evenly() {
    for (members, expected) in
        [(1, vec![100]), (2, vec![50, 50]), (3, vec![34, 33, 33]), (8, vec![13, 13, 13, 13, 12, 12, 12, 12])]
    {
        let mut pool = pool(members);
        assert_eq!(burst(&mut pool, 100), expected);
    }
}

#[test]
fn each_algorithm_keeps_to_the_weights() {
    use Algorithm::{LeastConnections, Random, RoundRobin, TwoChoices};
    for (algorithm, weights, expected, slack) in [
        (LeastConnections, [1, 1, 2], [250, 250, 500], 1),
        (RoundRobin, [1, 1, 2], [250, 250, 500], 0),
        (RoundRobin, [5, 1, 1], [714, 143, 143], 1),
        (Random, [1, 1, 2], [250, 250, 500], 60),
        (TwoChoices, [1, 1, 2], [250, 250, 500], 15),
        (TwoChoices, [1, 1, 1], [333, 333, 333], 5),
    ] {
        let mut pool = with(algorithm, &weights);
        let split = burst(&mut pool, 1000);
        let near = split.iter().zip(expected).all(|(got, expected)| got.abs_diff(expected) <= slack);
        assert!(near, "{algorithm:?} {weights:?}: {split:?}");
    }
}

#[test]
fn turns_by_weight_are_not_taken_in_bursts() {
    let mut pool = with(Algorithm::RoundRobin, &[3, 1]);
    let now = Instant::now();
    let turns: Vec<_> = (0..8).filter_map(|_| pool.rotate(&[], now)).collect();
    assert_eq!(turns, [0, 1, 0, 0, 0, 1, 0, 0].map(id));
}

#[test]
fn one_that_is_full_gets_no_session_but_requests() {
    for algorithm in [Algorithm::LeastConnections, Algorithm::RoundRobin, Algorithm::Random] {
        let mut pool = with(algorithm, &[1, 1]);
        pool.handle_terms(id(0), Terms { sessions_max: Some(3), ..terms(0, 1) });
        assert_eq!(burst(&mut pool, 10), [3, 7], "{algorithm:?}");
        pool.handle_terms(id(1), Terms { sessions_max: Some(7), ..terms(1, 1) });
        assert_eq!(pool.assign(wanted(&[])), None);
        assert!(!pool.is_ready() && !pool.assign_to(id(0), Instant::now()));
        assert!(pool.rotate(&[], Instant::now()).is_some());
        pool.handle_begun(id(0));
        pool.handle_ended(id(0));
        assert_eq!(pool.assign(wanted(&[])), Some(id(0)), "{algorithm:?}: one ended");
    }
}

#[test]
fn what_others_gave_a_member_counts_in_the_choice_and_is_never_moved_from_here() {
    let mut pool = with(Algorithm::LeastConnections, &[1, 1]);
    // Of ten that the first has in all two were given to it here.
    pool.handle_begun(id(0));
    pool.handle_begun(id(0));
    pool.handle_whole(id(0), 10);
    assert_eq!(burst(&mut pool, 12), [1, 11]);
    let share = |pool: &Pool, n| pool.share(id(n)).map(|share| (share.sessions, share.elsewhere));
    assert_eq!(share(&pool, 0), Some((2, 8)));
    let own: Vec<u64> = pool.loads().map(|(_, _, _, sessions)| sessions).collect();
    assert_eq!(own, [3, 11], "what may be let go from here");
    // It knows of fewer than are known here: those on the way are not there yet.
    pool.handle_whole(id(1), 4);
    assert_eq!(share(&pool, 1), Some((0, 0)));
}

#[test]
fn one_that_came_to_others_starts_slowly() {
    let start = Instant::now();
    let mut pool = Pool::new(1, Algorithm::RoundRobin, Duration::from_secs(10));
    pool.handle_joined(id(0), terms(0, 1), Standing::Up, start);
    pool.handle_joined(id(1), terms(1, 1), Standing::Up, start);
    let mut share = |after: u64| {
        let now = start + Duration::from_secs(after);
        (0..100).filter(|_| pool.rotate(&[], now) == Some(id(1))).count()
    };
    assert!(share(1) < 15);
    assert!((25..42).contains(&share(5)), "half a weight beside a whole one");
    assert_eq!(share(10), 50);
}

#[test]
fn a_key_comes_to_the_same_member_and_moves_only_when_that_one_goes() {
    let mut pool = with(Algorithm::LeastConnections, &[1, 1, 1, 1]);
    let to = |pool: &mut Pool, n: u64, except: &[MemberId]| {
        let key = Key::Hashed { key: hash::of(&n.to_le_bytes()), bound_percent: 0 };
        pool.assign_by(key, false, wanted(except)).unwrap()
    };
    let homes: Vec<_> = (0..400).map(|n| to(&mut pool, n, &[])).collect();
    for n in 0..4 {
        let share = homes.iter().filter(|home| **home == id(n)).count();
        assert!((70..130).contains(&share), "{share} of 400");
    }
    for (n, home) in homes.iter().enumerate() {
        let after = to(&mut pool, n as u64, &[id(2)]);
        assert!(after == *home || *home == id(2));
    }
    pool.handle_standing(id(2), Standing::Out, Instant::now());
    pool.handle_standing(id(2), Standing::Up, Instant::now());
    assert!(
        homes.iter().enumerate().all(|(n, home)| to(&mut pool, n as u64, &[]) == *home),
        "back as before"
    );
}

#[test]
fn a_bound_sends_the_excess_of_one_key_elsewhere() {
    for (bound_percent, most) in [(125, 63), (150, 75), (0, 100)] {
        let mut pool = with(Algorithm::LeastConnections, &[1, 1]);
        for _ in 0..100 {
            pool.assign_by(Key::Hashed { key: 7, bound_percent }, true, wanted(&[])).unwrap();
        }
        let loads = loads(&pool);
        assert_eq!(loads.iter().max(), Some(&most), "{bound_percent} %: {loads:?}");
    }
}

#[test]
fn ip_hash_chooses_as_nginx_does() {
    // The first number of 10.1.2.x is 2680, the second 4363; of weights 1 and 1 that is the first server, then the second.
    let mut pool = with(Algorithm::RoundRobin, &[1, 1]);
    let key = Key::IpHash("10.1.2.77".parse().unwrap());
    assert_eq!(pool.assign_by(key, true, wanted(&[])), Some(id(0)));
    pool.handle_standing(id(0), Standing::Out, Instant::now());
    assert_eq!(pool.assign_by(key, true, wanted(&[])), Some(id(1)));
    pool.handle_standing(id(1), Standing::Draining, Instant::now());
    assert_eq!(pool.assign_by(key, true, wanted(&[])), None);
    // 2680 mod 3 is 1: beyond the first weight.
    let mut pool = with(Algorithm::RoundRobin, &[1, 2]);
    assert_eq!(pool.assign_by(key, true, wanted(&[])), Some(id(1)));
}

#[test]
fn reports_that_come_in_the_middle_of_a_burst_change_nothing() {
    let mut pool = pool(2);
    for n in 0..50 {
        pool.assign(wanted(&[]));
        pool.assign(wanted(&[]));
        // The first is quick to report, the second never does.
        pool.handle_load(id(0), n + 1, u64::from(n) + 1);
    }
    assert_eq!(loads(&pool), [50, 50]);
}

#[test]
fn a_member_that_lost_sessions_catches_up() {
    let mut pool = pool(2);
    burst(&mut pool, 100);
    pool.handle_load(id(0), 50, 50);
    pool.handle_load(id(1), 20, 50);
    for _ in 0..30 {
        assert_eq!(pool.assign(wanted(&[])), Some(id(1)));
    }
    assert_eq!(loads(&pool), [50, 50]);
}

#[test]
fn sessions_and_states_choose_as_the_rows_say() {
    let now = Instant::now();
    let mut pool = Pool::new(2, Algorithm::LeastConnections, Duration::ZERO);
    assert_eq!(pool.assign(wanted(&[])), None);
    pool.handle_joined(id(0), terms(0, 1), Standing::Up, now);
    assert!(!pool.is_ready(), "one of two asked for");
    assert_eq!(pool.assign(wanted(&[])), Some(id(0)), "who is there serves");
    pool.handle_joined(id(1), terms(1, 1), Standing::Up, now);
    assert!(pool.is_ready());
    assert_eq!(pool.assign(wanted(&[])), Some(id(1)));
    assert_eq!(pool.assign(wanted(&[id(0)])), Some(id(1)), "not whom we tried");
    assert_eq!(pool.assign(wanted(&[id(0), id(1)])), None);
    pool.handle_standing(id(0), Standing::Draining, now);
    assert!(pool.is_ready(), "one is enough after the start");
    assert_eq!(pool.standing(id(0)), Standing::Draining, "it keeps its sessions");
    assert_eq!(pool.rotate(&[], now), Some(id(1)));
    pool.handle_gone(id(1));
    assert!(!pool.is_ready() && pool.standing(id(1)) == Standing::Out);
    assert_eq!((pool.assign(wanted(&[])), pool.rotate(&[], now)), (None, None));
    pool.handle_gone(id(1));
    pool.handle_load(id(1), 3, 3);
    pool.unassign(id(1));
    pool.handle_joined(id(2), terms(2, 1), Standing::Up, now);
    assert_eq!(pool.assign(wanted(&[])), Some(id(2)));
}

#[test]
fn who_is_about_to_be_replaced_gets_a_session_only_where_nobody_else_takes_it() {
    let all = [Algorithm::LeastConnections, Algorithm::RoundRobin, Algorithm::Random, Algorithm::TwoChoices];
    for algorithm in all {
        let mut pool = with(algorithm, &[1, 1, 1]);
        let wane = |pool: &mut Pool, n, waning| pool.handle_terms(id(n), Terms { waning, ..terms(n, 1) });
        (0..3).for_each(|n| wane(&mut pool, n, true));
        // While none of the new ones is there yet, all serve as before.
        assert!(pool.assign(wanted(&[])).is_some() && pool.is_ready(), "{algorithm:?}");
        wane(&mut pool, 2, false);
        for dice in 0..40 {
            let wanted = Wanted { dice, ..wanted(&[]) };
            assert_eq!(pool.assign(wanted), Some(id(2)), "{algorithm:?}");
            let key = Key::Hashed { key: dice, bound_percent: 125 };
            assert_eq!(pool.assign_by(key, true, wanted), Some(id(2)));
            let address = Key::IpHash([10, 0, u8::try_from(dice).unwrap(), 1].into());
            assert_eq!(pool.assign_by(address, true, wanted), Some(id(2)));
        }
        assert!(pool.assign(wanted(&[id(2)])).is_some_and(|one| one != id(2)), "it was tried in vain");
        assert!(pool.assign_to(id(0), Instant::now()), "whoever is named is taken");
        let turns: Vec<_> = (0..3).filter_map(|_| pool.rotate(&[], Instant::now())).collect();
        assert_eq!(turns.len(), 3);
        assert!((0..3).all(|n| turns.contains(&id(n))), "what makes no session goes to all");
        pool.handle_terms(id(2), Terms { sessions_max: Some(0), ..terms(2, 1) });
        assert!(pool.assign(wanted(&[])).is_some_and(|one| one != id(2)), "it is full");
    }
}

#[test]
fn requests_without_a_session_take_turns() {
    let mut pool = pool(3);
    pool.handle_load(id(1), 1000, 0);
    let now = Instant::now();
    let turns: Vec<_> = (0..6).filter_map(|_| pool.rotate(&[], now)).collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2].map(id));
}

#[test]
fn an_assignment_taken_back_weighs_nothing() {
    let mut pool = pool(2);
    assert_eq!(pool.assign(wanted(&[])), Some(id(0)));
    pool.unassign(id(0));
    assert_eq!(loads(&pool), [0, 0]);
}

#[test]
fn what_never_arrives_is_given_up_after_a_while() {
    let (mut pool, start) = (pool(2), Instant::now());
    let at = |except: &'static [u32], now| {
        let except: &'static [MemberId] = except.iter().map(|n| id(*n)).collect::<Vec<_>>().leak();
        Wanted { except, dice: 0, now }
    };
    for _ in 0..10 {
        pool.assign(at(&[1], start));
    }
    assert_eq!(pool.assign(at(&[], start)), Some(id(1)));
    assert_eq!(pool.assign(at(&[1], start + SETTLE_TIME / 2)), Some(id(0)));
    assert_eq!(loads(&pool), [11, 1]);
    let later = start + SETTLE_TIME;
    assert_eq!(pool.assign(at(&[0], later)), Some(id(1)));
    assert_eq!(loads(&pool), [10, 1], "all but those assigned since the first are waited for longer");
    assert_eq!(pool.assign(at(&[0], later + SETTLE_TIME)), Some(id(1)));
    assert_eq!(loads(&pool), [0, 1]);
    // Counts go on from there.
    pool.handle_load(id(0), 1, 1);
    assert_eq!(loads(&pool), [1, 1]);
}

#[test]
fn arrivals_that_nobody_assigned_hide_no_later_ones() {
    let mut pool = pool(1);
    pool.handle_load(id(0), 5, 5);
    pool.assign(wanted(&[]));
    assert_eq!(loads(&pool), [6]);
    pool.handle_load(id(0), 6, 6);
    assert_eq!(loads(&pool), [6]);
}

proptest! {
    #[test]
    fn whatever_happens_choices_are_fair_and_counts_stay_sane(steps in prop::collection::vec(step(), 1..200)) {
        let mut pool = Pool::new(1, Algorithm::LeastConnections, Duration::ZERO);
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Joined(n) => pool.handle_joined(id(n), terms(n, 1), Standing::Up, now),
                Step::Load(n, sessions, arrived) => pool.handle_load(id(n), sessions, arrived),
                Step::Draining(n) => pool.handle_standing(id(n), Standing::Draining, now),
                Step::Gone(n) => pool.handle_gone(id(n)),
                Step::Unassign(n) => pool.unassign(id(n)),
                Step::Ended(n) => pool.handle_ended(id(n)),
                Step::Wait(millis) => now += Duration::from_millis(millis),
                Step::Assign => {
                    let chosen = pool.assign(Wanted { except: &[], dice: 0, now });
                    let least = pool.members.values().filter(|m| m.takes()).map(|m| m.count.load()).min();
                    if let Some(chosen) = chosen {
                        let member = &pool.members[&chosen];
                        prop_assert_eq!(member.standing, Standing::Up);
                        // It had the least before it was counted.
                        prop_assert!(member.count.load() <= least.unwrap_or(0).saturating_add(1));
                    } else {
                        prop_assert_eq!(least, None);
                    }
                }
            }
        }
    }

    #[test]
    fn a_burst_on_equals_is_even(members in 1_u32..9, clients in 0_usize..300, each in 0_u32..50) {
        let mut pool = pool(members);
        for n in 0..members {
            pool.handle_load(id(n), each, 0);
        }
        let split = burst(&mut pool, clients);
        let (most, fewest) = (split.iter().max(), split.iter().min());
        prop_assert!(most.zip(fewest).is_some_and(|(most, fewest)| most - fewest <= 1), "{:?}", split);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Joined(u32),
    Load(u32, u32, u64),
    Draining(u32),
    Gone(u32),
    Unassign(u32),
    Ended(u32),
    Wait(u64),
    Assign,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 0_u32..4;
    prop_oneof![
        member.clone().prop_map(Step::Joined),
        (member.clone(), any::<u32>(), prop_oneof![0_u64..100, any::<u64>()])
            .prop_map(|(n, sessions, arrived)| Step::Load(n, sessions, arrived)),
        member.clone().prop_map(Step::Draining),
        member.clone().prop_map(Step::Gone),
        member.clone().prop_map(Step::Unassign),
        member.prop_map(Step::Ended),
        (0_u64..10_000).prop_map(Step::Wait),
        Just(Step::Assign),
        Just(Step::Assign),
        Just(Step::Assign),
    ]
}

fn pool(members: u32) -> Pool {
    with(Algorithm::LeastConnections, &vec![1; members as usize])
}

fn with(algorithm: Algorithm, weights: &[u16]) -> Pool {
    let mut pool = Pool::new(1, algorithm, Duration::ZERO);
    for (n, weight) in (0..).zip(weights) {
        pool.handle_joined(id(n), terms(n, *weight), Standing::Up, Instant::now());
    }
    pool
}

/// Dice that differ from one choice to the next, and are the same in each run.
fn burst(pool: &mut Pool, clients: usize) -> Vec<u64> {
    let (before, now) = (loads(pool), Instant::now());
    for n in 0..clients {
        pool.assign(Wanted { except: &[], dice: hash::of(&n.to_le_bytes()), now });
    }
    loads(pool).iter().zip(before).map(|(after, before)| after - before).collect()
}

fn loads(pool: &Pool) -> Vec<u64> {
    pool.loads().map(|(_, _, _, load)| load).collect()
}

fn wanted(except: &[MemberId]) -> Wanted<'_> {
    Wanted { except, dice: 0, now: Instant::now() }
}

fn terms(n: u32, weight: u16) -> Terms {
    Terms { weight, sessions_max: None, name: hash::of(&n.to_le_bytes()), waning: false }
}

fn id(n: u32) -> MemberId {
    MemberId::new(n)
}
