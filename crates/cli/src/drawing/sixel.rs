//! Sixels: bands of six rows of pixels, in at most 256 colours, one colour after another (DEC STD 070, chapter 9).

use super::over;
use aquatint::codec::Picture;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Rows of a band.
const BAND: usize = 6;
/// Colours that terminals have at least.
const MOST_COLOURS: usize = 256;
/// Values that a channel may have, fewer where there are too many colours; the last is few enough for any picture. A channel
/// is said in percent.
const LEVELS: [u16; 8] = [101, 51, 34, 26, 18, 12, 8, 6];

/// A picture whose pixels are squares of `factor` pixels, with a line end. What is transparent is not drawn.
pub(super) fn sixel(picture: &Picture, factor: usize, background: Option<[u8; 3]>) -> String {
    let (width, height) = (picture.width(), picture.height());
    let (indices, palette) = indexed(picture, background);
    let at = |x: usize, y: usize| indices.get(y * width + x).copied().flatten();
    // Second parameter 1: pixels that are not drawn stay what they are.
    let mut text = format!("\x1bP0;1;0q\"1;1;{};{}", width * factor, height * factor);
    for (index, [red, green, blue]) in palette.iter().enumerate() {
        // A string takes everything that is written to it.
        let _ = write!(text, "#{index};2;{red};{green};{blue}");
    }
    for band in 0..(height * factor).div_ceil(BAND) {
        let rows: Vec<usize> =
            (band * BAND..(band + 1) * BAND).map(|row| row / factor).take_while(|row| *row < height).collect();
        let mut colours: Vec<usize> = rows.iter().flat_map(|&y| (0..width).filter_map(move |x| at(x, y))).collect();
        colours.sort_unstable();
        colours.dedup();
        for (number, colour) in colours.iter().enumerate() {
            let column = |x: usize| {
                let bits = rows.iter().enumerate().filter(|&(_, &y)| at(x, y) == Some(*colour));
                bits.fold(0_u8, |bits, (row, _)| bits | 1 << row)
            };
            if number > 0 {
                text.push('$');
            }
            let _ = write!(text, "#{colour}");
            let columns: Vec<u8> = (0..width).map(column).collect();
            for run in columns.chunk_by(|a, b| a == b) {
                repeat(char::from(b'?' + run[0]), run.len() * factor, &mut text);
            }
        }
        text.push('-');
    }
    text.push_str("\x1b\\\n");
    text
}

fn repeat(character: char, count: usize, text: &mut String) {
    if count > 3 {
        let _ = write!(text, "!{count}{character}");
    } else {
        (0..count).for_each(|_| text.push(character));
    }
}

/// The number of each pixel's colour, and the colours in percent.
fn indexed(picture: &Picture, background: Option<[u8; 3]>) -> (Vec<Option<usize>>, Vec<[u16; 3]>) {
    let mut colours: BTreeMap<[u16; 3], usize> = BTreeMap::new();
    let percent = |levels: u16| {
        move |value: u8| {
            let level = (u16::from(value) * (levels - 1) + 127) / 255;
            (level * 100 + (levels - 1) / 2) / (levels - 1)
        }
    };
    let mut pixels = Vec::new();
    for levels in LEVELS {
        let of = |pixel: &[u8; 4]| over(*pixel, background).map(|colour| colour.map(percent(levels)));
        pixels = picture.pixels().iter().map(of).collect();
        colours = pixels.iter().flatten().map(|colour| (*colour, 0)).collect();
        if colours.len() <= MOST_COLOURS {
            break;
        }
    }
    colours.values_mut().enumerate().for_each(|(index, number)| *number = index);
    let indices = pixels.iter().map(|pixel| pixel.and_then(|colour| colours.get(&colour).copied())).collect();
    (indices, colours.into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pixels of a sixel text that this module wrote, colours in percent.
    fn read(text: &str) -> Vec<Vec<Option<[u16; 3]>>> {
        let body = text.strip_prefix("\x1bP0;1;0q\"1;1;").unwrap().strip_suffix("\x1b\\\n").unwrap();
        let sizes: Vec<usize> =
            body.split('#').next().unwrap().split(';').map(|number| number.parse().unwrap()).collect();
        let mut pixels = vec![vec![None; sizes[0]]; sizes[1]];
        let (mut palette, mut colour, mut x, mut y) = (BTreeMap::new(), 0, 0, 0);
        let mut rest = &body[body.find('#').unwrap_or(body.len())..];
        while let Some(first) = rest.chars().next() {
            let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(text.len());
            let mut count = 1;
            match first {
                '#' => {
                    let end = digits(&rest[1..]) + 1;
                    let numbers: Vec<u16> = rest[1..end].split(';').map(|number| number.parse().unwrap()).collect();
                    colour = numbers[0];
                    if let [index, 2, red, green, blue] = numbers[..] {
                        palette.insert(index, [red, green, blue]);
                    }
                    rest = &rest[end..];
                    continue;
                }
                '$' => x = 0,
                '-' => (x, y) = (0, y + BAND),
                '!' => {
                    let end = digits(&rest[1..]) + 1;
                    count = rest[1..end].parse().unwrap();
                    rest = &rest[end..];
                }
                _ => {}
            }
            let sixel = rest.bytes().next().unwrap();
            if (b'?'..=b'~').contains(&sixel) {
                for row in (0..BAND).filter(|row| (sixel - b'?') >> row & 1 == 1) {
                    pixels[y + row][x..x + count].fill(Some(palette[&colour]));
                }
                x += count;
            }
            rest = &rest[1..];
        }
        pixels
    }

    #[test]
    fn the_pixels_come_back_as_squares_and_transparent_ones_are_not_drawn() {
        let pixels = vec![[255, 0, 0, 255], [0, 0, 0, 0], [0, 255, 0, 255], [0, 0, 255, 255]];
        let picture = Picture::new(2, 2, pixels).unwrap();
        let text = sixel(&picture, 4, None);
        let (red, green, blue) = (Some([100, 0, 0]), Some([0, 100, 0]), Some([0, 0, 100]));
        let read = read(&text);
        for (y, row) in read.iter().enumerate() {
            for (x, pixel) in row.iter().enumerate() {
                let expected = [[red, None], [green, blue]][y / 4][x / 4];
                assert_eq!(*pixel, expected, "{x} {y}");
            }
        }
        let single = Picture::new(1, 1, vec![[255, 255, 255, 255]]).unwrap();
        assert_eq!(sixel(&single, 1, None), "\x1bP0;1;0q\"1;1;1;1#0;2;100;100;100#0@-\x1b\\\n");
    }

    #[test]
    fn many_colours_become_few_and_stay_near() {
        let pixel = |index: usize| [(index % 64 * 4) as u8, (index / 64 * 4) as u8, (index * 7 % 256) as u8, 255];
        let picture = Picture::new(64, 64, (0..64 * 64).map(pixel).collect()).unwrap();
        let (indices, palette) = indexed(&picture, None);
        assert!(palette.len() <= MOST_COLOURS && palette.len() > 100, "{}", palette.len());
        for (pixel, index) in picture.pixels().iter().zip(indices) {
            let colour = palette[index.unwrap()];
            for (value, percent) in pixel.iter().zip(colour) {
                assert!((f64::from(*value) / 2.55 - f64::from(percent)).abs() <= 11.0);
            }
        }
        let few = Picture::new(1, 2, vec![[1, 2, 3, 255], [250, 128, 7, 255]]).unwrap();
        assert_eq!(indexed(&few, None).1, [[0, 1, 1], [98, 50, 3]]);
    }
}
