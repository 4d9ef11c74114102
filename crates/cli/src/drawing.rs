//! Pictures as a terminal shows them: pure functions from pixels to text with escape sequences.

mod blocks;
mod kitty;
mod sixel;

use crate::terminal::{Colors, Graphics, Terminal};
use aquatint::codec::Picture;

pub(crate) use blocks::{BlockLine, Drawn, blocks};

/// Rows of cells of a picture where the terminal has graphics.
const ROWS: usize = 16;

/// A finished picture, with a line end; `None` where the terminal shows none.
pub(crate) fn draw(picture: &Picture, terminal: &Terminal) -> Option<String> {
    let ([columns, rows], [cell_width, cell_height]) = (terminal.size, terminal.cell);
    let rows = rows.saturating_sub(2).max(1);
    match terminal.graphics {
        Graphics::Kitty => {
            let rows = rows.min(ROWS);
            let columns = (rows * cell_height).div_ceil(cell_width).min(columns);
            Some(kitty::kitty(&picture.to_png().ok()?, [columns, rows]))
        }
        Graphics::Sixel => {
            let pixels = (rows.min(ROWS) * cell_height).min(columns * cell_width);
            let factor = (pixels / picture.width().max(picture.height()).max(1)).max(1);
            Some(sixel::sixel(picture, factor, terminal.background))
        }
        Graphics::Blocks if terminal.colors == Colors::None => None,
        Graphics::Blocks => {
            let drawn = Drawn { picture, open: &|_, _| false };
            let lines = blocks(&drawn, [columns, rows], terminal);
            Some(lines.iter().map(|line| format!("{}\n", line.text)).collect())
        }
    }
}

/// A pixel over the background; `None` where the background shows. Where that is not known, a pixel is there or it is not.
fn over(pixel: [u8; 4], background: Option<[u8; 3]>) -> Option<[u8; 3]> {
    let [red, green, blue, alpha] = pixel;
    let colour = [red, green, blue];
    match background {
        None => (alpha >= 128).then_some(colour),
        Some(_) if alpha < 8 => None,
        Some(background) => {
            let alpha = u16::from(alpha);
            let mix =
                |over: u8, under: u8| ((u16::from(over) * alpha + u16::from(under) * (255 - alpha) + 127) / 255) as u8;
            Some([mix(red, background[0]), mix(green, background[1]), mix(blue, background[2])])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn terminal(graphics: Graphics) -> Terminal {
        Terminal { colors: Colors::True, graphics, background: None, cell: [10, 20], size: [80, 24] }
    }

    #[test]
    fn a_pixel_lies_over_the_background_where_that_is_known() {
        assert_eq!(over([200, 100, 0, 255], Some([9, 9, 9])), Some([200, 100, 0]));
        assert_eq!(over([200, 100, 0, 128], Some([0, 0, 255])), Some([100, 50, 127]));
        assert_eq!(over([200, 100, 0, 3], Some([0, 0, 255])), None);
        assert_eq!((over([1, 2, 3, 128], None), over([1, 2, 3, 127], None)), (Some([1, 2, 3]), None));
    }

    #[test]
    fn a_picture_fits_the_terminal_whatever_draws_it() {
        let picture = Picture::new(64, 64, vec![[250, 128, 0, 255]; 64 * 64]).unwrap();
        let blocks = draw(&picture, &terminal(Graphics::Blocks)).unwrap();
        assert_eq!(blocks.lines().count(), 22);
        let kitty = draw(&picture, &terminal(Graphics::Kitty)).unwrap();
        assert!(kitty.contains("c=32,r=16"), "{kitty:?}");
        let sixel = draw(&picture, &terminal(Graphics::Sixel)).unwrap();
        assert!(sixel.contains("\"1;1;320;320"), "{sixel:?}");
        let plain = Terminal { colors: Colors::None, ..terminal(Graphics::Blocks) };
        assert_eq!(draw(&picture, &plain), None);
        let narrow = Terminal { size: [10, 100], ..terminal(Graphics::Blocks) };
        assert_eq!(draw(&picture, &narrow).unwrap().lines().count(), 5);
    }
}
