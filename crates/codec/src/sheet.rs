//! A sheet: originals beside what came back of them.

use crate::Picture;

/// Pixels between two pictures.
const GAP: usize = 4;
/// Pairs in a row.
const PAIRS: usize = 6;

/// Pairs of an original and what came back, six to a row, over white; `None` where a picture has not `size` pixels a side.
pub fn sheet(pairs: &[(Picture, Picture)], size: usize) -> Option<Picture> {
    let (columns, rows) = (pairs.len().min(PAIRS), pairs.len().div_ceil(PAIRS));
    let pair = 2 * size + GAP;
    let (width, height) = (columns * (pair + 2 * GAP), rows * (size + 2 * GAP));
    let mut pixels = vec![[255; 4]; width * height];
    for (index, (original, returned)) in pairs.iter().enumerate() {
        let (left, top) = (index % PAIRS * (pair + 2 * GAP) + GAP, index / PAIRS * (size + 2 * GAP) + GAP);
        for (picture, left) in [(original, left), (returned, left + size + GAP)] {
            if (picture.width(), picture.height()) != (size, size) {
                return None;
            }
            for (place, &pixel) in picture.pixels().iter().enumerate() {
                pixels[(top + place / size) * width + left + place % size] = over_white(pixel);
            }
        }
    }
    Picture::new(width, height, pixels)
}

fn over_white([red, green, blue, alpha]: [u8; 4]) -> [u8; 4] {
    let alpha = u32::from(alpha);
    let over = |value: u8| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
    [over(red), over(green), over(blue), 255]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_side_by_side_over_white() {
        let plain = |pixel| Picture::new(2, 2, vec![pixel; 4]).unwrap();
        let pairs = vec![(plain([9, 9, 9, 255]), plain([0, 0, 0, 128])); 7];
        let sheet = sheet(&pairs, 2).unwrap();
        assert_eq!((sheet.width(), sheet.height()), (6 * 16, 2 * 10));
        let at = |x: usize, y: usize| sheet.pixels()[y * sheet.width() + x];
        assert_eq!((at(4, 4), at(10, 4), at(0, 0)), ([9, 9, 9, 255], [127, 127, 127, 255], [255; 4]));
        assert_eq!((at(4, 14), at(20, 14)), ([9, 9, 9, 255], [255; 4]));
        assert!(super::sheet(&pairs, 3).is_none());
    }
}
