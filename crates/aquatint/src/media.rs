//! Pictures and sounds of a model: files become codes on a canvas, and codes files.

use crate::Hint;
use aquatint_checkpoint::Checkpoint;
use aquatint_codec::{CodecError, MOST_CODES, Picture, Sound, SpanCodec};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_diffusion::{Axes, Domain, TokenId};
use aquatint_vocabulary::{Mask, Media, MediaKind, MediaSpan, Original, Seconds, Template};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The bytes of files, by the names that a template has for them.
pub type MediaFiles = BTreeMap<String, Vec<u8>>;

/// Codes of a sound that is to be made where its length is not said: about a second, as long as a spoken word.
const SOUND: usize = 32;

/// A picture or a sound as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFile {
    /// Which of them.
    pub kind: MediaKind,
    /// Its type: `image/png`, `audio/wav`.
    pub media_type: &'static str,
    /// The content.
    pub bytes: Vec<u8>,
}

/// A stretch of what a model wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputPiece {
    /// Text, given and written.
    Text(String),
    /// A picture or a sound.
    Media {
        /// What its codes stand for. That of a given file is not the file itself: it is what the model sees of it. Of a
        /// picture with masks, all that is not made anew has the pixels of its file, fitted as the codec fits it.
        file: MediaFile,
        /// Whether the model made something of it.
        is_made: bool,
    },
}

/// Why a picture or a sound cannot stand on a canvas.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// The model has no codec of the kind.
    #[error("the template has a {kind}, and this model has no {kind}s; allowed: {}", allowed(there))]
    NoCodec {
        /// What the template has.
        kind: MediaKind,
        /// What the model has beside text.
        there: Vec<MediaKind>,
    },
    /// The bytes of a file did not come with the template.
    #[error("the {kind} `{file}` did not come with the template; allowed: {}", names(there))]
    NotThere {
        /// What the file would give.
        kind: MediaKind,
        /// Its name.
        file: String,
        /// The files that came.
        there: Vec<String>,
    },
    /// A mask is not within its picture.
    #[error("`mask` is {mask}; allowed: a part of the {columns} columns and {rows} rows of codes of `{file}`")]
    MaskOutside {
        /// The mask.
        mask: Mask,
        /// The picture.
        file: String,
        /// Columns of its codes.
        columns: usize,
        /// Rows of its codes.
        rows: usize,
    },
    /// A sound is to be longer than the codec can make one.
    #[error("`seconds` is {seconds}, which are {codes} codes; allowed: at most {most} codes", most = MOST_CODES)]
    TooLong {
        /// How long it is to be.
        seconds: Seconds,
        /// Codes of so long a sound.
        codes: u64,
    },
    /// What is said of a given picture does not fit it.
    #[error("the original of a picture has {made} places that are made anew or not; allowed: {places}")]
    Original {
        /// The places of which it is said whether they are made.
        made: usize,
        /// The places that there are.
        places: usize,
    },
    /// A file is none of its kind, or a codec cannot be used.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

fn allowed(there: &[MediaKind]) -> String {
    there.iter().fold("text".to_owned(), |all, kind| format!("{all}, {kind}s"))
}

fn names(there: &[String]) -> String {
    if there.is_empty() { "no file, since none came".to_owned() } else { there.join(", ") }
}

impl MediaError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCodec { kind, .. } => Some(format!("choose a model with codes of {kind}s")),
            Self::MaskOutside { .. } => {
                Some("a mask is WIDTHxHEIGHT+COLUMNxROW, with columns and rows counted from 0".to_owned())
            }
            Self::TooLong { .. } => Some("make several shorter ones".to_owned()),
            Self::NotThere { .. } | Self::Original { .. } => None,
            Self::Codec(error) => Hint::hint(error),
        }
    }
}

impl MediaFile {
    /// The file as an address that holds all of it: `data:image/png;base64,…`.
    pub fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.media_type, STANDARD.encode(&self.bytes))
    }
}

/// A codec of a model.
#[derive(Debug)]
struct OpenCodec {
    kind: MediaKind,
    codec: SpanCodec,
    /// The codes of a picture in which nothing is, made when first needed.
    blank: OnceLock<Vec<TokenId>>,
    /// Pixels of a side of its pictures, found when first needed.
    side: OnceLock<usize>,
}

/// The codecs of a model, ready for use.
#[derive(Debug)]
pub(crate) struct Codecs {
    codecs: Vec<OpenCodec>,
}

impl Codecs {
    /// Opens all that a checkpoint has, on one processor: they are small.
    pub(crate) fn open(checkpoint: &Checkpoint) -> Result<Self, MediaError> {
        let mut codecs = Vec::new();
        for described in &checkpoint.codecs {
            let Some(kind) = MediaKind::of_name(&described.name) else { continue };
            let device = Cpu::new(CpuPath::best(), 1).map_err(CodecError::from)?;
            let (codec, blank, side) = (SpanCodec::open(described, device)?, OnceLock::new(), OnceLock::new());
            codecs.push(OpenCodec { kind, codec, blank, side });
        }
        Ok(Self { codecs })
    }

    pub(crate) fn kinds(&self) -> Vec<MediaKind> {
        self.codecs.iter().map(|codec| codec.kind).collect()
    }

    /// Whether a span of this domain holds codes.
    pub(crate) fn have(&self, domain: &Domain) -> bool {
        self.codecs.iter().any(|codec| codec.codec.described().domain == *domain)
    }

    fn of(&self, kind: MediaKind) -> Result<&OpenCodec, MediaError> {
        let found = self.codecs.iter().find(|codec| codec.kind == kind);
        found.ok_or_else(|| MediaError::NoCodec { kind, there: self.kinds() })
    }

    /// How the pictures and sounds of a template lie on its canvas.
    pub(crate) fn spans(&self, template: &Template, files: &MediaFiles) -> Result<Vec<MediaSpan>, MediaError> {
        template.media().map(|media| self.of(media.kind)?.span(media, files)).collect()
    }

    /// The file that codes stand for. Where some are not known yet, nothing is to be seen there.
    /// Of what was given in part, that part is as it was.
    pub(crate) fn file(
        &self,
        kind: MediaKind,
        codes: &[Option<TokenId>],
        original: Option<&Original>,
    ) -> Result<MediaFile, MediaError> {
        let codec = self.of(kind)?;
        let blank = match codes.contains(&None) {
            true => codec.blank()?,
            false => &[],
        };
        let first = codec.codec.described().domain.ids.start;
        let known =
            |(index, code): (usize, &Option<TokenId>)| code.or_else(|| blank.get(index).copied()).unwrap_or(first);
        let codes: Vec<TokenId> = codes.iter().enumerate().map(known).collect();
        let mut bytes = codec.codec.file(&codes)?;
        if let Some(original) = original {
            bytes = codec.within(original, bytes)?;
        }
        Ok(MediaFile { kind, media_type: codec.codec.media_type(), bytes })
    }

    /// A file as its codec fits it, of which some codes are made anew.
    pub(crate) fn original(
        &self,
        kind: MediaKind,
        file: &[u8],
        name: &str,
        made: Vec<bool>,
    ) -> Result<Original, MediaError> {
        Ok(Original { file: self.of(kind)?.fitted(name, file)?, made })
    }
}

impl OpenCodec {
    fn span(&self, media: &Media, files: &MediaFiles) -> Result<MediaSpan, MediaError> {
        let described = self.codec.described();
        let (open, close, domain) = (described.open, described.close, described.domain.clone());
        let Some(file) = &media.file else {
            let count = match (domain.axes.positions(), media.seconds) {
                (Some(places), _) => places,
                (None, None) => SOUND,
                (None, Some(seconds)) => self.codes_of(seconds)?,
            };
            let codes = vec![None; count];
            return Ok(MediaSpan { open, close, domain, codes, original: None });
        };
        let bytes = files.get(file).ok_or_else(|| MediaError::NotThere {
            kind: self.kind,
            file: file.clone(),
            there: files.keys().cloned().collect(),
        })?;
        // A picture that is painted anew in part is fitted here, since its pixels stay.
        let original = match media.masks.is_empty() {
            true => None,
            false => Some(self.fitted(file, bytes)?),
        };
        let codes = self.codec.codes(file, original.as_deref().unwrap_or(bytes))?;
        let mut codes: Vec<Option<TokenId>> = codes.into_iter().map(Some).collect();
        let (rows, columns) = match domain.axes {
            Axes::Grid { rows, columns } => (rows, columns),
            Axes::Line => (1, codes.len()),
        };
        for mask in &media.masks {
            let (last_column, last_row) = (mask.column.checked_add(mask.width), mask.row.checked_add(mask.height));
            if last_column.is_none_or(|last| last > columns) || last_row.is_none_or(|last| last > rows) {
                return Err(MediaError::MaskOutside { mask: *mask, file: file.clone(), columns, rows });
            }
            for row in mask.row..mask.row + mask.height {
                codes[row * columns + mask.column..][..mask.width].fill(None);
            }
        }
        Ok(MediaSpan { open, close, domain, codes, original })
    }

    /// The codes of a sound that is at least so long. A code lasts as long as the sound that it alone gives.
    fn codes_of(&self, seconds: Seconds) -> Result<usize, MediaError> {
        let code = Sound::decode("the sound of a code", &self.codec.file(&[self.codec.described().domain.ids.start])?)?;
        let (rate, each) = (u64::from(code.rate()), 1000 * code.samples().len() as u64);
        let codes = (u64::from(seconds.milliseconds()) * rate).div_ceil(each.max(1));
        match usize::try_from(codes) {
            Ok(count) if count <= MOST_CODES => Ok(count),
            _ => Err(MediaError::TooLong { seconds, codes }),
        }
    }

    /// Pixels of a side of its pictures: all have one size, that of nothing too.
    fn side(&self) -> Result<usize, MediaError> {
        if let Some(side) = self.side.get() {
            return Ok(*side);
        }
        let nothing = Picture::decode("the picture of nothing", &self.codec.file(self.blank()?)?)?;
        Ok(*self.side.get_or_init(|| nothing.width()))
    }

    /// A picture in a file as the codec sees it, in a file.
    fn fitted(&self, name: &str, bytes: &[u8]) -> Result<Arc<[u8]>, MediaError> {
        Ok(Picture::decode_fitted(name, bytes, self.side()?)?.to_png()?.into())
    }

    /// The original with what was made of a part of it. Sounds are given as a whole.
    fn within(&self, original: &Original, made: Vec<u8>) -> Result<Vec<u8>, MediaError> {
        let Axes::Grid { rows, columns } = self.codec.described().domain.axes else { return Ok(made) };
        let (whole, made) = (Picture::decode("the original", &original.file)?, Picture::decode("the picture", &made)?);
        let places = [rows, columns];
        let patched = whole
            .patched(&made, places, &original.made)
            .ok_or_else(|| MediaError::Original { places: rows * columns, made: original.made.len() })?;
        Ok(patched.to_png()?)
    }

    /// The codes of nothing; none of a sound.
    fn blank(&self) -> Result<&[TokenId], MediaError> {
        if let (MediaKind::Picture, None) = (self.kind, self.blank.get()) {
            let clear = Picture::new(1, 1, vec![[0; 4]]).map(|picture| picture.to_png()).transpose()?;
            let codes = self.codec.codes("nothing", &clear.unwrap_or_default())?;
            return Ok(self.blank.get_or_init(|| codes));
        }
        Ok(self.blank.get().map_or(&[], Vec::as_slice))
    }
}
