//! What this machine is, as far as the operating system reports it.

use aquatint_train::Bytes;

/// The processor's name, where the system says.
pub(crate) fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).to_owned())
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    Bytes(count as f64).to_string()
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
    fn sizes_have_three_figures() {
        let texts = [0, 999, 1000, 1023, 10_240, 1_048_576, 15_000_000, 16_384_000_000].map(bytes);
        assert_eq!(texts, ["0 B", "999 B", "0.98 KiB", "1.00 KiB", "10.0 KiB", "1.00 MiB", "14.3 MiB", "15.3 GiB"]);
        assert_eq!([7, 12_345, 15_300_000].map(count), ["7", "12 thousand", "15.3 million"]);
    }
}
