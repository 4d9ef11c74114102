//! What the terminal can show of a picture: in how many colours, and whether it has graphics. It says so by the environment
//! and, where it can be asked, by its answers.

mod query;

pub(crate) use query::give_back;

use std::io::IsTerminal;

/// How many colours there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colors {
    /// None: pictures are not drawn.
    None,
    /// The 256 of xterm.
    Indexed,
    /// 24 bits.
    True,
}

/// How a finished picture is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Graphics {
    /// As characters of half a cell.
    Blocks,
    /// By kitty's protocol.
    Kitty,
    /// As sixels.
    Sixel,
}

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    pub(crate) colors: Colors,
    pub(crate) graphics: Graphics,
    /// The colour under what is transparent, where it is known.
    pub(crate) background: Option<[u8; 3]>,
    /// Pixels of a cell, width and height.
    pub(crate) cell: [usize; 2],
    /// Columns and rows of cells.
    pub(crate) size: [usize; 2],
}

/// Pixels of a cell where the terminal does not say.
const CELL: [usize; 2] = [10, 20];
/// Columns and rows where it does not say.
const SIZE: [usize; 2] = [80, 24];

/// Of the environment what says something about the terminal.
#[derive(Debug, Clone, Default)]
struct Environment {
    term: String,
    program: String,
    color_term: String,
    /// Whether this is Windows Terminal.
    windows: bool,
}

/// What a terminal answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Answer {
    kitty: bool,
    sixel: bool,
    background: Option<[u8; 3]>,
    cell: Option<[usize; 2]>,
    /// Whether the answer that every terminal gives is there: it is the last one.
    is_whole: bool,
}

impl Terminal {
    /// What the terminal of standard error can show while a picture settles; nothing is asked. `color` is whether it takes
    /// colour at all.
    pub(crate) fn of_drawings(color: bool) -> Self {
        Self::of(color, &Environment::read(), &Answer::default(), terminal_size::terminal_size_of(std::io::stderr()))
    }

    /// What the terminal of standard output can show of a finished picture; it is asked, which takes a moment. `None` where
    /// standard output is none.
    pub(crate) fn of_output(color: bool) -> Option<Self> {
        if !std::io::stdout().is_terminal() {
            return None;
        }
        let environment = Environment::read();
        let answer = match color && environment.answers_queries() {
            true => query::ask().unwrap_or_default(),
            false => Answer::default(),
        };
        Some(Self::of(color, &environment, &answer, terminal_size::terminal_size_of(std::io::stdout())))
    }

    fn of(
        color: bool,
        environment: &Environment,
        answer: &Answer,
        size: Option<(terminal_size::Width, terminal_size::Height)>,
    ) -> Self {
        let colors = if color { environment.colors() } else { Colors::None };
        let graphics = match answer {
            _ if !color => Graphics::Blocks,
            Answer { kitty: true, .. } => Graphics::Kitty,
            Answer { sixel: true, .. } => Graphics::Sixel,
            _ => Graphics::Blocks,
        };
        Self {
            colors,
            graphics,
            background: answer.background,
            cell: answer.cell.unwrap_or(CELL),
            size: size.map_or(SIZE, |(columns, rows)| [usize::from(columns.0), usize::from(rows.0)]),
        }
    }
}

impl Environment {
    fn read() -> Self {
        let text = |variable: &str| std::env::var(variable).unwrap_or_default();
        Self {
            term: text("TERM"),
            program: text("TERM_PROGRAM"),
            color_term: text("COLORTERM"),
            windows: std::env::var_os("WT_SESSION").is_some(),
        }
    }

    fn colors(&self) -> Colors {
        let is_true = matches!(self.color_term.as_str(), "truecolor" | "24bit")
            || self.term.ends_with("-direct")
            || self.windows
            || matches!(self.program.as_str(), "iTerm.app" | "WezTerm" | "ghostty" | "vscode");
        if is_true { Colors::True } else { Colors::Indexed }
    }

    /// Whether a question is answered or passed over in silence.
    fn answers_queries(&self) -> bool {
        // These print what they do not know, GNU screen in its status line.
        let prints = matches!(self.term.as_str(), "" | "dumb" | "linux") || self.term.starts_with("screen");
        !prints && self.program != "Apple_Terminal"
    }
}

impl Answer {
    /// Reads what came so far; what was typed in between is passed over.
    fn parse(bytes: &[u8]) -> Self {
        let mut answer = Self::default();
        let text = String::from_utf8_lossy(bytes);
        for sequence in text.split('\x1b').skip(1) {
            if let Some(rest) = sequence.strip_prefix("_G") {
                answer.kitty |= rest.split_once(';').is_some_and(|(_, message)| message.starts_with("OK"));
            } else if let Some(rest) = sequence.strip_prefix("]11;") {
                answer.background = answer.background.or(background(rest));
            } else if let Some((parameters, _)) = sequence.strip_prefix("[6;").and_then(|rest| rest.split_once('t')) {
                let size =
                    parameters.split_once(';').and_then(|(height, width)| Some([number(width)?, number(height)?]));
                answer.cell = size.filter(|[width, height]| *width > 0 && *height > 0);
            } else if let Some((parameters, _)) = sequence.strip_prefix("[?").and_then(|rest| rest.split_once('c')) {
                answer.sixel |= parameters.split(';').skip(1).any(|attribute| attribute == "4");
                answer.is_whole = true;
            }
        }
        answer
    }
}

fn number(digits: &str) -> Option<usize> {
    digits.parse::<u16>().ok().map(usize::from)
}

/// `rgb:RRRR/GGGG/BBBB`, each of one to four digits.
fn background(text: &str) -> Option<[u8; 3]> {
    let (_, colour) = text.split_once("rgb:")?;
    let end = colour.find(|c: char| !c.is_ascii_hexdigit() && c != '/').unwrap_or(colour.len());
    let channel = |digits: &str| {
        let most = 16_u32.checked_pow(u32::try_from(digits.len()).ok()?)? - 1;
        let value = u32::from_str_radix(digits, 16).ok()?;
        u8::try_from((value * 255).checked_div(most)?).ok()
    };
    let channels = colour[..end].split('/').map(|digits| channel(digits.get(..4).unwrap_or(digits)));
    channels.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(term: &str, program: &str, color_term: &str) -> Environment {
        let [term, program, color_term] = [term, program, color_term].map(str::to_owned);
        Environment { term, program, color_term, windows: false }
    }

    #[test]
    fn what_terminals_answer_is_understood() {
        let kitty = b"\x1b_Gi=31;OK\x1b\\\x1b]11;rgb:1e1e/2020/ffff\x1b\\\x1b[6;22;11t\x1b[?62;c";
        let expected =
            Answer { kitty: true, sixel: false, background: Some([30, 32, 255]), cell: Some([11, 22]), is_whole: true };
        assert_eq!(Answer::parse(kitty), expected);
        let foot = Answer::parse(b"typed\x1b]11;rgb:ff/0/f\x07\x1b[?62;4;22c");
        assert_eq!((foot.sixel, foot.kitty, foot.background, foot.is_whole), (true, false, Some([255, 0, 255]), true));
        // 4 as the first number is a class of terminals, and an error is no support.
        let others = Answer::parse(b"\x1b_Gi=31;ENOTSUP:no\x1b\\\x1b[?4;6c");
        assert_eq!(others, Answer { is_whole: true, ..Answer::default() });
        for cut in 0..kitty.len() {
            assert!(!Answer::parse(&kitty[..cut]).is_whole);
        }
        for wild in
            ["\x1b]11;rgb:", "\x1b]11;rgb:fffff/0/0\x07", "\x1b[6;0;0t", "\x1b[6;99999;1t", "\x1b]11;rgb:é/0/0", "\x1b"]
        {
            let answer = Answer::parse(wild.as_bytes());
            assert_eq!((answer.cell, answer.background.filter(|_| !wild.contains("fffff"))), (None, None), "{wild:?}");
        }
    }

    #[test]
    fn colours_and_graphics_follow_from_the_environment_and_the_answer() {
        let of = |environment: &Environment, answer: &str| {
            let terminal = Terminal::of(true, environment, &Answer::parse(answer.as_bytes()), None);
            (terminal.colors, terminal.graphics)
        };
        let sixel = "\x1b[?62;4c";
        assert_eq!(of(&environment("xterm-256color", "", "truecolor"), ""), (Colors::True, Graphics::Blocks));
        assert_eq!(of(&environment("xterm-256color", "", ""), sixel), (Colors::Indexed, Graphics::Sixel));
        assert_eq!(of(&environment("xterm-direct", "", ""), "\x1b_Gi=31;OK\x1b\\"), (Colors::True, Graphics::Kitty));
        let plain = Terminal::of(false, &environment("xterm", "", "24bit"), &Answer::parse(sixel.as_bytes()), None);
        assert_eq!((plain.colors, plain.graphics, plain.size), (Colors::None, Graphics::Blocks, [80, 24]));
        let answers = |term, program| environment(term, program, "").answers_queries();
        assert!(
            answers("xterm", "")
                && !answers("linux", "")
                && !answers("screen-256color", "")
                && !answers("xterm-256color", "Apple_Terminal")
        );
    }
}
