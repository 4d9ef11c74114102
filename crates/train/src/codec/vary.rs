//! How samples are varied in training, so that each is learned in many forms.

use aquatint_codec::{Medium, Picture, Pictures, Sound, Sounds};
use aquatint_diffusion::Draws;

/// A medium whose samples are trained on.
pub trait Vary: Medium {
    /// The samples in another form that is as likely.
    fn varied(samples: &Self::Samples, draws: &mut Draws) -> Self::Samples;
}

/// The most pixels by which a picture is shifted, each way.
const SHIFT: isize = 4;

impl Vary for Pictures {
    /// The picture mirrored, or not, and shifted a little.
    fn varied(picture: &Picture, draws: &mut Draws) -> Picture {
        let mirrored = draws.below(2) == 1;
        let mut shift = || draws.below(2 * SHIFT as u64 + 1) as isize - SHIFT;
        let (right, down) = (shift(), shift());
        let shifted = picture.shifted(right, down);
        if mirrored { shifted.mirrored() } else { shifted }
    }
}

/// The most decibels by which a sound becomes louder or softer.
const DECIBELS: f64 = 6.0;
/// The most seconds by which a sound becomes later: as long as several codes are.
const LATER: f64 = 0.1;

impl Vary for Sounds {
    /// The sound louder or softer, and a little later, so that its frames lie elsewhere in it.
    fn varied(sound: &Sound, draws: &mut Draws) -> Sound {
        let factor = 10.0_f64.powf(DECIBELS * (2.0 * draws.uniform() - 1.0) / 20.0);
        let later = draws.below((LATER * f64::from(sound.rate())) as u64 + 1);
        sound.varied(factor as f32, later as usize)
    }
}
