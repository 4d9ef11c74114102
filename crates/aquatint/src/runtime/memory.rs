//! The memory of this machine, as far as the operating system reports it.

/// Bytes of memory in all and available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs can take without others giving anything up.
    pub available: u64,
    /// What is left of the disk that stands in for memory.
    pub swap: u64,
}

/// What the system reports; `None` where it says nothing that can be read without a crate of its own.
pub fn memory() -> Option<Memory> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// The most memory that this process has held at once, in bytes, since it began or [`forget_peak_memory`]; `None` where
/// the system does not say.
pub fn peak_memory() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Resets what [`peak_memory`] reports; returns whether the system did so.
pub fn forget_peak_memory() -> bool {
    // Linux, Documentation/filesystems/proc.rst: 5 sets the peak to what is held now.
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Bytes that this process may still take, swap included: what the machine has, and no more than what its container
/// allows.
pub(super) fn available() -> Option<u64> {
    let machine = memory().map(|memory| memory.available + memory.swap);
    machine.into_iter().chain(container()).min()
}

/// The same without the disk that stands in for memory.
pub(super) fn free() -> Option<u64> {
    let machine = memory().map(|memory| memory.available);
    machine.into_iter().chain(container()).min()
}

fn parse(text: &str) -> Option<Memory> {
    let field = |name| field(text, name);
    Some(Memory {
        total: field("MemTotal:")?,
        available: field("MemAvailable:")?,
        swap: field("SwapFree:").unwrap_or(0),
    })
}

/// The bytes of a line `NAME: COUNT kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What a container's limit leaves (Linux, cgroup v2 and v1); `None` where there is no limit.
fn container() -> Option<u64> {
    let places = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.stat"),
    ];
    let (limit, usage) = places.into_iter().find_map(|(limit, usage)| {
        Some((std::fs::read_to_string(limit).ok()?, std::fs::read_to_string(usage).ok()?))
    })?;
    left(&limit, &usage)
}

/// A limit less the memory that cannot be taken back: pages of files can.
fn left(limit: &str, usage: &str) -> Option<u64> {
    // `max` where there is none; version 1 has an absurd number then, which is above what the machine has.
    let limit: u64 = limit.trim().parse().ok()?;
    let count = |name: &str| {
        let line = usage.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.trim().parse::<u64>().ok()
    };
    let taken = count("anon").or_else(|| count("total_rss"))?;
    Some(limit.saturating_sub(taken))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_reported_where_memory_is() {
        // A process that holds this text has held some memory.
        assert_eq!(peak_memory().is_some(), cfg!(target_os = "linux"));
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8000000 kB\nSwapFree:  1000 kB\n";
        let expected = Memory { total: 16_384_000_000, available: 8_192_000_000, swap: 1_024_000 };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("MemTotal: many kB"), None);
    }

    #[test]
    fn a_container_leaves_its_limit_less_what_is_taken() {
        assert_eq!(left("1000\n", "anon 300\nfile 500\nanon_thp 0\n"), Some(700));
        assert_eq!(left("1000\n", "cache 500\ntotal_rss 1200\n"), Some(0));
        assert_eq!(left("max\n", "anon 300\n"), None);
    }
}
