//! A histogram of durations: buckets 1/32 of their power of two wide, so a quantile is right within about 3 %.

use std::time::Duration;

/// Counts durations of up to about 18 minutes.
pub(crate) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: Duration,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS].into(), count: 0, max: Duration::ZERO }
    }

    #[inline]
    pub(crate) fn record(&mut self, value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos).min(BUCKETS - 1)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// The duration that this share of all (0 to 1) did not pass.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "a count"
        )]
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper(index)).min(self.max);
            }
        }
        self.max
    }

    pub(crate) fn max(&self) -> Duration {
        self.max
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return usize::try_from(nanos).unwrap_or(0);
    }
    let power = nanos.ilog2() - STEPS.ilog2();
    let step = usize::try_from((nanos >> power) - STEPS).unwrap_or(0);
    (power as usize + 1) * STEPS_USIZE + step
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let (power, step) = (index / STEPS_USIZE, (index % STEPS_USIZE) as u64);
    if power == 0 { step } else { ((STEPS + step + 1) << (power - 1)) - 1 }
}

const STEPS: u64 = 32;
const STEPS_USIZE: usize = 32;
const BUCKETS: usize = 37 * STEPS_USIZE;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Histogram, bucket, upper};

    #[test]
    fn a_value_lies_in_its_bucket() {
        for nanos in (0..10_000).chain([1 << 20, (1 << 33) + 12_345]) {
            assert!(upper(bucket(nanos)) >= nanos, "{nanos}");
            assert!(bucket(nanos) == 0 || upper(bucket(nanos) - 1) < nanos, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_within_a_bucket_of_the_truth() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for (share, micros) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.04, "{share}: {found}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(1));
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Histogram::new().quantile(0.99), Duration::ZERO);
    }
}
