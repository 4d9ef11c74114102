//! Which of the written positions of a text are opened again, so that a share of it is written anew.

use crate::random::Purpose;
use crate::{Key, SettingError};

/// Chooses a share `strength`, above 0 and at most 1, of some positions: rounded, but at least one where there is any.
/// Ascending.
///
/// Each position has a rank by the key and itself, and the lowest ranks are chosen: a larger strength under the same key
/// opens the same positions and more, whichever others there are to choose from.
///
/// # Errors
/// When the strength is outside its range.
pub fn reopened_share(positions: &[usize], strength: f64, key: Key) -> Result<Vec<usize>, SettingError> {
    if !(strength > 0.0 && strength <= 1.0) {
        return Err(SettingError::new("strength", strength, "above 0, at most 1").with_hint("1 opens all positions"));
    }
    let mut chosen = positions.to_vec();
    chosen.sort_unstable();
    chosen.dedup();
    let count = ((chosen.len() as f64 * strength).round() as usize).max(1);
    let key = key.fold(Purpose::Reopen as u64);
    let rank = |position: &usize| key.at(*position as u64, 0).uniform();
    chosen.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
    chosen.truncate(count);
    chosen.sort_unstable();
    Ok(chosen)
}
