//! Kitty's graphics protocol: a PNG file in base64, in the parameters of escape sequences (APC).
//! <https://sw.kovidgoyal.net/kitty/graphics-protocol/>

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Characters of base64 in one sequence, at most.
const CHUNK: usize = 4096;

/// A picture over so many columns and rows of cells, with a line end. The terminal scales it.
pub(super) fn kitty(png: &[u8], [columns, rows]: [usize; 2]) -> String {
    let payload = STANDARD.encode(png);
    let chunks: Vec<&str> =
        payload.as_bytes().chunks(CHUNK).filter_map(|chunk| std::str::from_utf8(chunk).ok()).collect();
    // The screen scrolls by lines and not by pictures: room is made first. The cursor stays (C=1) and nothing is answered
    // (q=2).
    let mut text = format!("{}\x1b[{rows}A", "\n".repeat(rows));
    for (index, chunk) in chunks.iter().enumerate() {
        let more = u8::from(index + 1 < chunks.len());
        let keys = match index {
            0 => format!("a=T,f=100,q=2,C=1,c={columns},r={rows},m={more}"),
            _ => format!("m={more}"),
        };
        text.push_str(&format!("\x1b_G{keys};{chunk}\x1b\\"));
    }
    text.push_str(&format!("\x1b[{rows}B\r"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_comes_in_pieces_and_room_is_made_first() {
        assert_eq!(kitty(b"\x89PNG", [4, 2]), "\n\n\x1b[2A\x1b_Ga=T,f=100,q=2,C=1,c=4,r=2,m=0;iVBORw==\x1b\\\x1b[2B\r");
        let bytes: Vec<u8> = (0..10_000_u32).map(|byte| (byte % 251) as u8).collect();
        let text = kitty(&bytes, [4, 2]);
        let payloads: Vec<&str> = text
            .split("\x1b_G")
            .skip(1)
            .map(|sequence| sequence.split_once(';').unwrap().1.split_once('\x1b').unwrap().0)
            .collect();
        assert_eq!(payloads.len(), 4);
        assert!(payloads.iter().all(|payload| payload.len() <= CHUNK && payload.len() % 4 == 0));
        assert_eq!(STANDARD.decode(payloads.concat()).unwrap(), bytes);
        assert_eq!((text.matches("m=1;").count(), text.matches("m=0;").count()), (3, 1));
    }
}
