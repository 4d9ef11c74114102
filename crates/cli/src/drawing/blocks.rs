//! Half blocks: a character is two pixels, one above the other, in the colours of its front and its back.

use super::over;
use crate::terminal::{Colors, Terminal};
use anstyle::{Ansi256Color, Color, RgbColor};
use aquatint::codec::Picture;
use std::fmt::Write;

/// A picture, and which of its pixels are not known yet.
pub(crate) struct Drawn<'a> {
    pub(crate) picture: &'a Picture,
    /// Whether the pixel of a column and a row is still open, in shares of the sides.
    pub(crate) open: &'a dyn Fn(f64, f64) -> bool,
}

/// One line of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockLine {
    /// Its characters with their colours, which end with it.
    pub(crate) text: String,
    /// Columns that it takes.
    pub(crate) width: usize,
    /// Whether something on it is open.
    pub(crate) is_open: bool,
}

/// What half a character shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    /// The background.
    Nothing,
    /// Something that is not known yet.
    Open,
    /// A colour.
    Colour([u8; 3]),
}

/// The lines of a picture within so many columns and rows; it is never scaled up.
pub(crate) fn blocks(drawn: &Drawn<'_>, [columns, rows]: [usize; 2], terminal: &Terminal) -> Vec<BlockLine> {
    let Drawn { picture, open } = drawn;
    let longest = picture.width().max(picture.height());
    let size = longest.min(columns).min(2 * rows).max(1);
    let fitted = picture.fitted(size);
    let half = |x: usize, y: usize| {
        let share = |place: usize| (place as f64 + 0.5) / size as f64;
        match fitted.pixels().get(y * size + x).filter(|_| y < size) {
            None => Half::Nothing,
            Some(_) if open(share(x), share(y)) => Half::Open,
            Some(pixel) => over(*pixel, terminal.background).map_or(Half::Nothing, Half::Colour),
        }
    };
    let line = |row: usize| {
        let mut line = BlockLine { text: String::new(), width: size, is_open: false };
        let mut styles = Styles { colors: terminal.colors, front: None, back: None };
        for x in 0..size {
            let (top, bottom) = (half(x, 2 * row), half(x, 2 * row + 1));
            line.is_open |= top == Half::Open || bottom == Half::Open;
            let (front, back, character) = match (top, bottom) {
                (Half::Colour(top), Half::Colour(bottom)) => (Some(top), Some(bottom), '▀'),
                (Half::Colour(top), _) => (Some(top), None, '▀'),
                (_, Half::Colour(bottom)) => (Some(bottom), None, '▄'),
                (Half::Open, _) | (_, Half::Open) => (None, None, '░'),
                (Half::Nothing, Half::Nothing) => (None, None, ' '),
            };
            styles.change(front, back, &mut line.text);
            line.text.push(character);
        }
        styles.change(None, None, &mut line.text);
        line
    };
    (0..size.div_ceil(2)).map(line).collect()
}

/// The colours that are set.
struct Styles {
    colors: Colors,
    front: Option<Color>,
    back: Option<Color>,
}

impl Styles {
    fn change(&mut self, front: Option<[u8; 3]>, back: Option<[u8; 3]>, text: &mut String) {
        let of = |colour: [u8; 3]| match self.colors {
            Colors::None | Colors::Indexed => Color::Ansi256(nearest(colour)),
            Colors::True => Color::Rgb(RgbColor(colour[0], colour[1], colour[2])),
        };
        let (front, back) = (front.map(of), back.map(of));
        if self.front.is_some() && front.is_none() || self.back.is_some() && back.is_none() {
            text.push_str("\x1b[0m");
            (self.front, self.back) = (None, None);
        }
        // A string takes everything that is written to it.
        if let Some(front) = front.filter(|front| self.front != Some(*front)) {
            let _ = write!(text, "{}", front.render_fg());
        }
        if let Some(back) = back.filter(|back| self.back != Some(*back)) {
            let _ = write!(text, "{}", back.render_bg());
        }
        (self.front, self.back) = (front, back);
    }
}

/// The nearest of xterm's colours that no user changes: the cube of 6×6×6 behind the first 16, and 24 greys behind it.
fn nearest(colour: [u8; 3]) -> Ansi256Color {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let level = |value: u8| (0..6_u8).min_by_key(|&level| LEVELS[usize::from(level)].abs_diff(value)).unwrap_or(0);
    let distance =
        |other: [u8; 3]| -> u32 { colour.iter().zip(other).map(|(a, b)| u32::from(a.abs_diff(b)).pow(2)).sum() };
    let cube = colour.map(level);
    let mean = colour.iter().map(|value| u32::from(*value)).sum::<u32>() / 3;
    let grey = (mean.saturating_sub(3) / 10).min(23) as u8;
    if distance([8 + 10 * grey; 3]) < distance(cube.map(|level| LEVELS[usize::from(level)])) {
        return Ansi256Color(232 + grey);
    }
    let [red, green, blue] = cube;
    Ansi256Color(16 + 36 * red + 6 * green + blue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing::tests::terminal;
    use crate::terminal::Graphics;

    const RED: [u8; 4] = [255, 0, 0, 255];
    const BLUE: [u8; 4] = [0, 0, 255, 255];
    const CLEAR: [u8; 4] = [0; 4];

    fn lines(pixels: &[[u8; 4]], side: usize, terminal: &Terminal, open: &dyn Fn(f64, f64) -> bool) -> Vec<BlockLine> {
        let picture = Picture::new(side, side, pixels.to_vec()).unwrap();
        blocks(&Drawn { picture: &picture, open }, [80, 24], terminal)
    }

    #[test]
    fn a_character_is_two_pixels_and_colours_are_set_when_they_change() {
        let terminal = terminal(Graphics::Blocks);
        let pixels =
            [RED, RED, CLEAR, BLUE, BLUE, CLEAR, CLEAR, BLUE, CLEAR, CLEAR, RED, CLEAR, CLEAR, CLEAR, CLEAR, CLEAR];
        let drawn = lines(&pixels, 4, &terminal, &|_, _| false);
        let text: Vec<&str> = drawn.iter().map(|line| line.text.as_str()).collect();
        let (red, blue) = ("\x1b[38;2;255;0;0m", "\x1b[38;2;0;0;255m");
        let under = "\x1b[48;2;0;0;255m";
        assert_eq!(
            text,
            [format!("{red}{under}▀\x1b[0m{red}▀\x1b[0m {blue}{under}▀\x1b[0m"), format!("  {red}▀\x1b[0m "),]
        );
        assert!(drawn.iter().all(|line| line.width == 4 && !line.is_open));
    }

    #[test]
    fn what_is_open_is_shaded_and_leaves_its_line_open() {
        let drawn = lines(&[RED; 16], 4, &terminal(Graphics::Blocks), &|x, y| x < 0.5 && y < 0.5);
        assert_eq!(drawn[0].text, "░░\x1b[38;2;255;0;0m\x1b[48;2;255;0;0m▀▀\x1b[0m");
        assert_eq!(drawn[1].text, "\x1b[38;2;255;0;0m\x1b[48;2;255;0;0m▀▀▀▀\x1b[0m");
        assert_eq!([drawn[0].is_open, drawn[1].is_open], [true, false]);
    }

    #[test]
    fn indexed_colours_are_the_nearest_ones() {
        let of = |colour| nearest(colour).0;
        assert_eq!([of([255, 0, 0]), of([0, 0, 0]), of([255; 3]), of([95, 135, 175])], [196, 16, 231, 67]);
        assert_eq!([of([128; 3]), of([8; 3]), of([238; 3])], [244, 232, 255]);
        for grey in 0..=255_u8 {
            let index = of([grey; 3]);
            let value = if index >= 232 {
                8 + 10 * (index - 232)
            } else {
                [0, 95, 135, 175, 215, 255][usize::from((index - 16) % 6)]
            };
            assert!(value.abs_diff(grey) <= 9, "{grey} {index}");
        }
        let indexed = Terminal { colors: Colors::Indexed, ..terminal(Graphics::Blocks) };
        assert_eq!(lines(&[RED], 1, &indexed, &|_, _| false)[0].text, "\x1b[38;5;196m▀\x1b[0m");
    }
}
