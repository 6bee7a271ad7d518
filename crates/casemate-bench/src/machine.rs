//! The machine: its description, pinning to a core, and its noise.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use crate::{
    rows::{Machine, Primitive},
    stats::median,
};

/// A machine is noisy if the median spread of all rows exceeds this share of the median time.
const NOISY_SHARE: f64 = 0.05;
const FEATURES: [&str; 11] = [
    "aes",
    "pclmulqdq",
    "avx2",
    "avx512f",
    "vaes",
    "vpclmulqdq",
    "sha_ni",
    "bmi2",
    "adx",
    "asimd",
    "sha3",
];

pub(crate) fn describe() -> Machine {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        info.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let flags = field("flags")
        .or_else(|| field("Features"))
        .unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Machine {
        cpu: field("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: cores(),
        features: FEATURES
            .iter()
            .filter(|feature| flags.split(' ').any(|flag| flag == **feature))
            .map(|feature| (*feature).to_owned())
            .collect(),
        memory_bytes: kibibytes.unwrap_or_default() * 1024,
        system: format!("Linux {}", release.trim()),
    }
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Pins this thread to its current core until dropped.
pub(crate) struct Pin(Option<CpuSet>);

impl Pin {
    pub(crate) fn new() -> Self {
        let Ok(before) = sched_getaffinity(None) else {
            return Self(None);
        };
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        Self(sched_setaffinity(None, &one).is_ok().then_some(before))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // If unpinning fails, the rest is only slower.
            _ = sched_setaffinity(None, before);
        }
    }
}

/// Returns notes about noise on the machine while `rows` were measured.
pub(crate) fn noise(machine: &Machine, rows: &[Primitive]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut shares: Vec<f64> = rows
        .iter()
        .flat_map(|row| &row.operations)
        .map(|one| one.timing.mad_us / one.timing.median_us.max(1e-3))
        .collect();
    let share = median(&mut shares);
    if share > NOISY_SHARE {
        notes.push(format!(
            "the machine was noisy: the typical spread is {:.0} % of the median; stop other programs and measure again",
            share * 100.0
        ));
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let one_minute = load
        .split(' ')
        .next()
        .and_then(|text| text.parse::<f64>().ok());
    if let Some(load) = one_minute.filter(|load| *load > machine.cores as f64 * 0.9 + 0.5) {
        notes.push(format!(
            "the load average is {load:.1} on {} cores: other programs were running",
            machine.cores
        ));
    }
    notes
}
