//! What the kernel says a process has used: CPU time of its threads, and resident memory.
//!
//! Total time comes from `schedstat` (nanoseconds, by thread), the split of user and system time from `stat` (clock
//! ticks, whole process). A thread that ends in between takes its `schedstat` along; then `stat` is the larger, and wins.

use std::fs;

use anyhow::{Context as _, bail};

/// CPU time used so far.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// By `schedstat`, over all living threads.
    scheduled_ns: u64,
    user_ns: u64,
    system_ns: u64,
}

/// CPU time between two samples.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) total_ns: f64,
    /// Share of it spent in user mode.
    pub(crate) user_share: f64,
}

impl Cpu {
    /// Samples these processes, all together.
    pub(crate) fn of(pids: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Self::default();
        for pid in pids {
            sum.add(*pid).with_context(|| format!("cannot read the CPU time of process {pid}"))?;
        }
        Ok(sum)
    }

    fn add(&mut self, pid: u32) -> anyhow::Result<()> {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
            self.scheduled_ns += text.split(' ').next().context("schedstat is empty")?.parse::<u64>()?;
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is a name in brackets, which may hold anything.
        let (_, fields) = stat.rsplit_once(") ").context("stat has no name")?;
        let mut times = fields.split(' ').skip(11);
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        for time in [&mut self.user_ns, &mut self.system_ns] {
            *time += times.next().context("stat is short")?.parse::<u64>()? * tick_ns;
        }
        Ok(())
    }

    /// What was used since an earlier sample.
    pub(crate) fn since(self, earlier: Self) -> Used {
        let scheduled = float(self.scheduled_ns.saturating_sub(earlier.scheduled_ns));
        let user = float(self.user_ns - earlier.user_ns);
        let ticks = user + float(self.system_ns - earlier.system_ns);
        // Ticks are coarse: within a few of them, `schedstat` is the better figure.
        let total_ns = if ticks > scheduled + 50e6 { ticks } else { scheduled };
        Used { total_ns, user_share: if ticks > 0.0 { user / ticks } else { 0.0 } }
    }
}

/// Resident memory of these processes in KiB.
pub(crate) fn resident_kib(pids: &[u32]) -> anyhow::Result<u64> {
    pids.iter().map(|pid| resident_of(*pid)).sum()
}

fn resident_of(pid: u32) -> anyhow::Result<u64> {
    // `smaps_rollup` walks the page tables; `status` sums counters that lag behind by thread.
    for file in ["smaps_rollup", "status"] {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/{file}")) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:").or(line.strip_prefix("VmRSS:")));
        if let Some(line) = line {
            return Ok(line.trim().trim_end_matches(" kB").trim().parse()?);
        }
    }
    bail!("cannot read the memory of process {pid}")
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run fit in 53 bits")]
fn float(nanos: u64) -> f64 {
    nanos as f64
}

#[cfg(test)]
mod tests {
    use super::{Cpu, resident_kib};

    #[test]
    fn work_shows_as_time_and_memory() {
        let me = [std::process::id()];
        let before = Cpu::of(&me).unwrap();
        let sum: u64 = (0..20_000_000).map(std::hint::black_box).sum();
        assert!(std::hint::black_box(sum) > 0);
        let used = Cpu::of(&me).unwrap().since(before);
        assert!(used.total_ns > 0.0 && (0.0..=1.0).contains(&used.user_share));
        assert!(resident_kib(&me).unwrap() > 100);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(Cpu::of(&[u32::MAX]).is_err());
        assert!(resident_kib(&[u32::MAX]).is_err());
    }
}
