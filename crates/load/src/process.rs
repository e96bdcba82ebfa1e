//! What the measured process used, from /proc.

use std::fs;

use anyhow::Context as _;
use serde::Serialize;

/// Ticks of the kernel's process times in a second: 100 on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// A process at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Usage {
    /// User and system time of all its threads, in seconds.
    pub(crate) cpu_secs: f64,
    /// Its memory that is no file, in bytes.
    pub(crate) anonymous: u64,
    /// All its memory, in bytes.
    pub(crate) resident: u64,
}

/// Reads it.
pub(crate) fn usage(pid: u32) -> anyhow::Result<Usage> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).with_context(|| format!("read {path}"))
    };
    let stat = read("stat")?;
    let (_, fields) = stat.rsplit_once(')').context("a process's state has its name")?;
    let ticks =
        fields.split_whitespace().skip(11).take(2).filter_map(|tick| tick.parse::<f64>().ok());
    let status = read("status")?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(Usage {
        cpu_secs: ticks.sum::<f64>() / TICKS_A_SECOND,
        anonymous: kib("RssAnon:") << 10,
        resident: kib("VmRSS:") << 10,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_memory() {
        let own = super::usage(std::process::id()).expect("it runs");
        assert!(own.resident >= own.anonymous && own.anonymous > 0);
    }
}
