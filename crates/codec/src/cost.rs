//! What samples that came back cost beside those that were given.

mod pictures;
mod sounds;

pub use pictures::PictureCost;
pub use sounds::SoundCost;

/// Where errors begin to count linearly.
const EPSILON: f64 = 0.03;

/// `ρ(e) = √(e² + ε²) − ε` (Charbonnier et al., 1994) and its slope.
fn robust(error: f64) -> (f64, f64) {
    let root = (error * error + EPSILON * EPSILON).sqrt();
    (root - EPSILON, error / root)
}
