//! A bus that does what real ones do at their worst: it delays, loses, repeats, reorders, and lets a partition cut it.
//!
//! Driven by a seed and a clock that the test moves, so that each run can be run again. Carries anything; knows nothing of what
//! it carries. Members are numbers.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use sockeye_sim::bus::{Bus, Faults};
//!
//! let mut now = Instant::now();
//! let mut bus = Bus::new(7, Faults { delay_max: Duration::from_millis(50), ..Faults::default() });
//! bus.send(0, 1, "hello", now);
//! assert!(bus.next_due().is_some_and(|due| due <= now + Duration::from_millis(50)));
//! now += Duration::from_millis(50);
//! let parcel = bus.take(now).expect("it is not lost");
//! assert_eq!((parcel.from, parcel.to, parcel.load), (0, 1, "hello"));
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// What goes wrong. The default is a bus that is at once and never wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Each parcel takes any time up to this; with `in_order` unset, they overtake each other.
    pub delay_max: Duration,
    /// How many parcels of a hundred are lost.
    pub loss_percent: u64,
    /// How many parcels of a hundred come twice, each in its own time.
    pub repeat_percent: u64,
    /// Whether what one member sends to another arrives in the order in which it was sent, as on a connection.
    pub in_order: bool,
}

/// Something on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel<T> {
    /// The member that sent it.
    pub from: usize,
    /// The member that it is for.
    pub to: usize,
    /// What was sent.
    pub load: T,
}

/// The bus.
#[derive(Debug)]
pub struct Bus<T> {
    dice: Dice,
    faults: Faults,
    /// By when they are due, then by when they were sent.
    parcels: BTreeMap<(Instant, u64), Parcel<T>>,
    sent: u64,
    /// When the last parcel between two members is due.
    last_due: BTreeMap<(usize, usize), Instant>,
    /// The members on the far side of a partition.
    far: BTreeSet<usize>,
}

impl<T: Clone> Bus<T> {
    /// Makes a bus whose faults follow from the seed.
    pub const fn new(seed: u64, faults: Faults) -> Self {
        Self {
            dice: Dice::new(seed),
            faults,
            parcels: BTreeMap::new(),
            sent: 0,
            last_due: BTreeMap::new(),
            far: BTreeSet::new(),
        }
    }

    /// Takes a parcel, if it is not lost.
    pub fn send(&mut self, from: usize, to: usize, load: T, now: Instant) {
        if self.is_cut(from, to) || self.dice.percent(self.faults.loss_percent) {
            return;
        }
        let copies = if self.dice.percent(self.faults.repeat_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let mut due = now + self.dice.up_to(self.faults.delay_max);
            if self.faults.in_order {
                let last = self.last_due.entry((from, to)).or_insert(due);
                due = due.max(*last);
                *last = due;
            }
            self.sent += 1;
            self.parcels.insert((due, self.sent), Parcel { from, to, load: load.clone() });
        }
    }

    /// The next parcel that has arrived.
    pub fn take(&mut self, now: Instant) -> Option<Parcel<T>> {
        let entry = self.parcels.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// When the next parcel arrives.
    pub fn next_due(&self) -> Option<Instant> {
        self.parcels.first_key_value().map(|((due, _), _)| *due)
    }

    /// Cuts these members off from the others; what is on its way still arrives. An empty partition is none.
    pub fn partition(&mut self, far: impl IntoIterator<Item = usize>) {
        self.far = far.into_iter().collect();
    }

    /// Whether a partition stands between two members.
    pub fn is_cut(&self, one: usize, other: usize) -> bool {
        self.far.contains(&one) != self.far.contains(&other)
    }
}

/// Random numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Makes the numbers of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `count`, which is not 0.
    pub const fn below(&mut self, count: u64) -> u64 {
        self.roll() % count
    }

    /// An index of a list that is not empty.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// True so many times of a hundred.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A time of at most this, in milliseconds.
    pub fn up_to(&mut self, max: Duration) -> Duration {
        let millis = u64::try_from(max.as_millis()).unwrap_or(u64::MAX - 1);
        Duration::from_millis(self.below(millis + 1))
    }
}
