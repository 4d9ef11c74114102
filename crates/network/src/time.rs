//! Times as sinusoidal features: Vaswani et al., 1706.03762, section 3.5, of the time in thousandths as in DiT
//! (2212.09748): `[cos(1000 t f₀) …, sin(1000 t f₀) …]` with `fᵢ = 10000^(−i / (features / 2))`.

use aquatint_compute::Element;

/// `[times, features]`.
pub(crate) fn features<E: Element>(times: &[f32], features: usize) -> Vec<E> {
    let half = features / 2;
    let mut out = Vec::with_capacity(times.len() * features);
    for &time in times {
        let angle = |i: usize| 1000.0 * f64::from(time) * 10000f64.powf(-(i as f64) / half as f64);
        out.extend((0..half).map(|i| E::from_f64(angle(i).cos())));
        out.extend((0..half).map(|i| E::from_f64(angle(i).sin())));
    }
    out
}
