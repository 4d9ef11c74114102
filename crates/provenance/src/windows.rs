//! The stretches of a text that are examined, since a marked text may stand within another one.

use crate::Detection;
use std::ops::Range;

/// Tokens of the shortest stretch that is examined by itself.
const SHORTEST: usize = 25;

/// What a stretch says: how many tokens were counted, and the probability of so much without a mark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence {
    pub(crate) counted: usize,
    pub(crate) p_value: f64,
}

/// The stretches of a text of so many tokens, the whole first: halves, quarters …, each half over the one before it.
pub(crate) fn windows(length: usize) -> Vec<Range<usize>> {
    let mut windows = Vec::from([Range { start: 0, end: length }]);
    let mut size = length.div_ceil(2);
    while size >= SHORTEST && size < length {
        let last = length - size;
        let starts = (0..last).step_by(size.div_ceil(2)).chain([last]);
        windows.extend(starts.map(|start| start..start + size));
        size = size.div_ceil(2);
    }
    windows
}

/// The least p-value over all stretches, times what examining them costs: the whole text has one half of the chance to
/// err, and the other stretches share the other half (Bonferroni with weights), so that the result is never too small.
/// `evidence` gives what each of the stretches says, in their order, the whole text first.
pub(crate) fn detect(
    scheme: &'static str,
    length: usize,
    evidence: impl FnOnce(&[Range<usize>]) -> Vec<Evidence>,
) -> Detection {
    let windows = windows(length);
    let others = windows.len() - 1;
    let evidence = evidence(&windows);
    let whole = evidence[0];
    let cost = |index: usize| match (others, index) {
        (0, _) => 1.0,
        (_, 0) => 2.0,
        (others, _) => 2.0 * others as f64,
    };
    let mut best = Detection {
        scheme,
        p_value: (whole.p_value * cost(0)).min(1.0),
        tokens: length,
        counted: whole.counted,
        within: 0..length,
    };
    for (index, (window, found)) in windows.into_iter().zip(evidence).enumerate().skip(1) {
        let p_value = found.p_value * cost(index);
        if p_value < best.p_value {
            best = Detection { p_value, within: window, ..best };
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_text_in_ever_smaller_parts() {
        assert_eq!(windows(0), vec![Range { start: 0, end: 0 }]);
        assert_eq!(windows(48), vec![Range { start: 0, end: 48 }]);
        assert_eq!(windows(50), [0..50, 0..25, 13..38, 25..50]);
        let of = windows(200);
        assert!(of.iter().all(|window| window.end <= 200 && window.len() >= SHORTEST));
        for size in [100, 50, 25] {
            let covered: std::collections::BTreeSet<usize> =
                of.iter().filter(|window| window.len() == size).cloned().flatten().collect();
            assert_eq!(covered.len(), 200);
        }
    }

    #[test]
    fn looking_at_more_stretches_costs_its_share() {
        let of = |length, p_value: fn(&Range<usize>) -> f64| {
            let evidence = |window: &Range<usize>| Evidence { counted: window.len(), p_value: p_value(window) };
            detect("test", length, |windows| windows.iter().map(evidence).collect())
        };
        let found = of(50, |window| if *window == (13..38) { 1e-6 } else { 0.4 });
        assert_eq!((found.within, found.counted), (13..38, 50));
        assert!((found.p_value - 6e-6).abs() < 1e-12);
        let whole = of(20, |_| 0.03);
        assert_eq!(whole.p_value, 0.03);
    }
}
