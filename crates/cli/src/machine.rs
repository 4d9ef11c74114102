//! What this machine is, as far as the operating system reports it.

/// The bytes of a line `NAME: COUNT kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// The most memory that this process has held at once, since it began or [`forget_peak_memory`], where the system says.
pub(crate) fn peak_memory() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// Resets what [`peak_memory`] reports; returns whether the system did so.
pub(crate) fn forget_peak_memory() -> bool {
    // Linux, Documentation/filesystems/proc.rst: 5 sets the peak to what is held now.
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// The processor's name, where the system says.
pub(crate) fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// A number of bytes for people: three figures and a unit.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    // 1000 and not 1024: three figures fit the column up to 999.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{count} B"),
        _ if value < 9.95 => format!("{value:.2} {}", UNITS[unit]),
        _ if value < 99.5 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A count for people: `15.3 million`.
pub(crate) fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.0} thousand", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} million", number as f64 / 1e6),
        _ => format!("{:.1} billion", number as f64 / 1e9),
    }
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
    fn sizes_have_three_figures() {
        let texts = [0, 999, 1000, 1023, 10_240, 1_048_576, 15_000_000, 16_384_000_000].map(bytes);
        assert_eq!(texts, ["0 B", "999 B", "0.98 KiB", "1.00 KiB", "10.0 KiB", "1.00 MiB", "14.3 MiB", "15.3 GiB"]);
        assert_eq!([7, 12_345, 15_300_000].map(count), ["7", "12 thousand", "15.3 million"]);
    }
}
