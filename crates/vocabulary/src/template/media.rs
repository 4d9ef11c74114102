//! Pictures and sounds in a template: `[[picture]]`, `[[picture:fox.png]]`, `[[picture:fox.png,mask=2x2+4x4]]`,
//! `[[sound,seconds=1.5]]`.

use super::TemplateProblem;
use crate::Role;
use std::fmt;

/// A picture or a sound of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Which of them.
    pub kind: MediaKind,
    /// The file that gives it; `None` where it is to be made.
    pub file: Option<String>,
    /// The parts of a given picture that are to be made anew.
    pub masks: Vec<Mask>,
    /// How long a sound is to be that is made; as long as the model makes them where it is not said.
    pub seconds: Option<Seconds>,
}

/// What stands on a canvas beside text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// Codes in rows.
    Picture,
    /// Codes one behind the other.
    Sound,
}

/// A part of a picture, counted in places of its codes: `2x2+4x4` is two columns and two rows of them, behind the first four
/// columns and under the first four rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// Columns that it covers; at least one.
    pub width: usize,
    /// Rows that it covers; at least one.
    pub height: usize,
    /// Columns to the left of it.
    pub column: usize,
    /// Rows above it.
    pub row: usize,
}

/// How long a sound is, in whole thousandths of a second: more than nothing, at most an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds {
    milliseconds: u32,
}

impl Seconds {
    /// The most.
    pub const LONGEST: Self = Self { milliseconds: 3_600_000 };

    /// So many seconds, to the nearest thousandth; `None` where that is nothing or more than [`Seconds::LONGEST`].
    pub fn new(seconds: f64) -> Option<Self> {
        // What is no number becomes 0.
        Self::of((seconds * 1000.0).round() as u32)
    }

    fn of(milliseconds: u32) -> Option<Self> {
        (1..=Self::LONGEST.milliseconds).contains(&milliseconds).then_some(Self { milliseconds })
    }

    /// Reads digits, and behind a point one to three more; `None` where it is no such thing, nothing, or too much.
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        if !(1..=3).contains(&part.len()) {
            return None;
        }
        let part = u32::try_from(number(part)?).ok()? * 10_u32.pow(3 - part.len() as u32);
        Self::of(u32::try_from(number(whole)?).ok()?.checked_mul(1000)?.checked_add(part)?)
    }

    /// Thousandths of a second.
    pub fn milliseconds(self) -> u32 {
        self.milliseconds
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.milliseconds / 1000, self.milliseconds % 1000);
        match part {
            0 => write!(formatter, "{whole}"),
            part => formatter.write_str(format!("{whole}.{part:03}").trim_end_matches('0')),
        }
    }
}

impl MediaKind {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Picture, Self::Sound];

    /// Its name, `picture` or `sound`: in templates, of the codec of a model and its folder, and of the domain in recipes.
    /// No other place has these words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Sound => "sound",
        }
    }

    /// The kind of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What opens and what closes its codes.
    pub fn marks(self) -> (Role, Role) {
        match self {
            Self::Picture => (Role::Picture, Role::PictureEnd),
            Self::Sound => (Role::Sound, Role::SoundEnd),
        }
    }

    /// A file of the kind, for advice.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::Picture => "fox.png",
            Self::Sound => "owl.wav",
        }
    }
}

impl fmt::Display for MediaKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Mask {
    /// Reads `WIDTHxHEIGHT+COLUMNxROW`; `None` where it is no such thing or covers nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let pair = |text: &str| {
            let (first, second) = text.split_once('x')?;
            Some((number(first)?, number(second)?))
        };
        let (size, corner) = text.split_once('+')?;
        let ((width, height), (column, row)) = (pair(size)?, pair(corner)?);
        (width > 0 && height > 0).then_some(Self { width, height, column, row })
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Mask {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { width, height, column, row } = self;
        write!(formatter, "{width}x{height}+{column}x{row}")
    }
}

impl Media {
    /// One that is to be made.
    pub fn open(kind: MediaKind) -> Self {
        Self { kind, file: None, masks: Vec::new(), seconds: None }
    }

    /// A sound of a length that is to be made.
    pub fn sound(seconds: Option<Seconds>) -> Self {
        Self { seconds, ..Self::open(MediaKind::Sound) }
    }

    /// One that a file gives.
    pub fn given(kind: MediaKind, file: impl Into<String>) -> Self {
        Self { kind, file: Some(file.into()), masks: Vec::new(), seconds: None }
    }

    /// Whether some of it is to be made.
    pub fn is_open(&self) -> bool {
        self.file.is_none() || !self.masks.is_empty()
    }

    /// The picture or sound of the hole that the `[[` at byte `open` of a text begins, and the end of that hole; `None` where
    /// there is no such hole. A corpus reads its texts by this, in which all else is text.
    pub fn at(text: &str, open: usize) -> Option<(Self, usize)> {
        let inside = super::hole_at(text, open)?;
        Some((Self::parse(inside.trim())?.ok()?, open + inside.len() + 4))
    }

    /// Reads what stands between the brackets, without blanks around it; `None` where it is neither a picture nor a sound.
    pub(super) fn parse(inside: &str) -> Option<Result<Self, TemplateProblem>> {
        let end = inside.find([':', ',']).unwrap_or(inside.len());
        let word = inside[..end].trim_end();
        let kind = MediaKind::of_name(word)?;
        Some(Self::parse_rest(kind, &inside[end..]))
    }

    /// Reads what follows the name of a kind: `:FILE` and options.
    fn parse_rest(kind: MediaKind, rest: &str) -> Result<Self, TemplateProblem> {
        let options = first_option(rest).unwrap_or(rest.len());
        let file = match rest[..options].strip_prefix(':').map(str::trim) {
            Some("") => return Err(TemplateProblem::NoFile { kind }),
            Some(file) => Some(file.to_owned()),
            // A comma behind the kind that begins no option.
            None if options > 0 => return Err(TemplateProblem::Unknown),
            None => None,
        };
        let (mut masks, mut seconds) = (Vec::new(), None);
        for option in rest[options..].split(',').skip(1) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let (name, value) = (name.trim(), value.trim());
            if name == "seconds" && kind == MediaKind::Sound {
                if file.is_some() {
                    return Err(TemplateProblem::LengthOfFile);
                }
                let given = Seconds::parse(value).filter(|_| seconds.is_none());
                seconds = Some(given.ok_or_else(|| TemplateProblem::Seconds { given: value.to_owned() })?);
                continue;
            }
            if name != "mask" {
                return Err(TemplateProblem::Option { kind, given: name.to_owned() });
            }
            if kind != MediaKind::Picture || file.is_none() {
                return Err(TemplateProblem::NothingToMask { kind });
            }
            let mask = Mask::parse(value).ok_or_else(|| TemplateProblem::Mask { given: value.to_owned() })?;
            masks.push(mask);
        }
        Ok(Self { kind, file, masks, seconds })
    }
}

/// The first comma with `NAME=` behind it, for the name of an option: files may have commas in their names.
fn first_option(text: &str) -> Option<usize> {
    let is_option = |comma: &usize| {
        let behind = text[comma + 1..].split(',').next().unwrap_or_default();
        let name = behind.split_once('=').map(|(name, _)| name.trim());
        name.is_some_and(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase()))
    };
    text.match_indices(',').map(|(comma, _)| comma).find(is_option)
}

/// What stands between the brackets.
impl fmt::Display for Media {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind.name())?;
        if let Some(file) = &self.file {
            write!(formatter, ":{file}")?;
        }
        self.masks.iter().try_for_each(|mask| write!(formatter, ",mask={mask}"))?;
        self.seconds.map_or(Ok(()), |seconds| write!(formatter, ",seconds={seconds}"))
    }
}
