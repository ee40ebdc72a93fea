//! Facts about this process that the kernel keeps. The main type is [`ProcessGauges`].

use fs_err as fs;

use super::histogram::as_float;

/// Ticks of a second in `/proc`, which is fixed in the interface of Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Fields of `/proc/self/stat` behind the name of the program, counted from zero (proc(5)).
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;

/// Use of the machine by this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessGauges {
    pub cpu_seconds: f64,
    pub resident_bytes: u64,
    pub virtual_bytes: u64,
    pub open_files: u64,
    /// Seconds since 1970.
    pub start_time_seconds: f64,
}

impl ProcessGauges {
    /// Reads `/proc`. Blocks for about a millisecond if thousands of files are open. `None` if
    /// `/proc` is not there.
    #[must_use]
    pub fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name is in parentheses, and may contain any byte.
        let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| -> Option<f64> { fields.get(field)?.parse().ok() };
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot_time = number_after(&boot, "btime ")?;
        Some(Self {
            cpu_seconds: (ticks(USER_TICKS)? + ticks(SYSTEM_TICKS)?) / TICKS_PER_SECOND,
            resident_bytes: number_after(&status, "VmRSS:")? * 1024,
            virtual_bytes: number_after(&status, "VmSize:")? * 1024,
            // One of them is that of the folder itself.
            open_files: (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1),
            start_time_seconds: as_float(boot_time) + ticks(START_TICKS)? / TICKS_PER_SECOND,
        })
    }
}

/// Returns the number behind the beginning of a line.
fn number_after(text: &str, start: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(start))?;
    line.split_whitespace().next()?.parse().ok()
}
