//! A model's codec at work: from files to the tokens of spans, and back.

use crate::{Codec, CodecError, CodecKind, Extent, LearnedCodec, Medium, PictureCodec, SoundCodec, kind_of};
use aquatint_checkpoint::{CodecFiles, ModelCodec};
use aquatint_compute::Device;
use aquatint_diffusion::{Axes, Domain, TokenId};
use std::fmt::Debug;

/// A codec of any kind, between the bytes of files and codes.
pub trait FileCodec: Debug + Send + Sync {
    /// What it makes codes of, as templates name it: `picture`.
    fn domain(&self) -> &'static str;

    /// How the codes of a span lie.
    fn axes(&self) -> Axes;

    /// Codes that there are: ids are below it.
    fn vocabulary_size(&self) -> usize;

    /// The type of files that it writes, as in `data:` URLs: `image/png`.
    fn media_type(&self) -> &'static str;

    /// The codes of a file; `name` is for messages.
    ///
    /// # Errors
    /// When the file is of no known format, damaged or too large, or the device fails.
    fn encode_file(&self, name: &str, bytes: &[u8]) -> Result<Vec<u32>, CodecError>;

    /// A file of what codes stand for.
    ///
    /// # Errors
    /// When they are not as many as a span has, one is out of range, or the device fails.
    fn decode_file(&self, codes: &[u32]) -> Result<Vec<u8>, CodecError>;
}

impl<D: Device, M: Medium> FileCodec for LearnedCodec<D, M> {
    fn domain(&self) -> &'static str {
        M::DOMAIN
    }

    fn axes(&self) -> Axes {
        match self.extent() {
            Extent::Grid([rows, columns]) => Axes::Grid { rows, columns },
            Extent::Line { .. } => Axes::Line,
        }
    }

    fn vocabulary_size(&self) -> usize {
        Codec::vocabulary_size(self)
    }

    fn media_type(&self) -> &'static str {
        M::MEDIA_TYPE
    }

    fn encode_file(&self, name: &str, bytes: &[u8]) -> Result<Vec<u32>, CodecError> {
        Ok(self.encode_all(&[&self.medium().read(name, bytes)?])?.concat())
    }

    fn decode_file(&self, codes: &[u32]) -> Result<Vec<u8>, CodecError> {
        M::write(&self.decode(codes)?)
    }
}

/// The codec in a folder, or in the binary, whatever its kind.
///
/// # Errors
/// When there is none, its files do not fit each other, or the device lacks the memory.
pub fn open_codec<D: Device>(files: impl Into<CodecFiles>, device: D) -> Result<Box<dyn FileCodec>, CodecError> {
    let files = files.into();
    Ok(match kind_of(&files)? {
        CodecKind::Pictures => Box::new(PictureCodec::open(&files, device)?),
        CodecKind::Sounds => Box::new(SoundCodec::open(&files, device)?),
    })
}

/// A codec of a model, opened.
#[derive(Debug)]
pub struct SpanCodec {
    described: ModelCodec,
    codec: Box<dyn FileCodec>,
}

impl SpanCodec {
    /// Opens a codec that a model describes.
    ///
    /// # Errors
    /// As [`open_codec`], and when it is another codec than the description says.
    pub fn open<D: Device>(described: &ModelCodec, device: D) -> Result<Self, CodecError> {
        let codec = open_codec(&described.files, device)?;
        let Domain { ids, axes } = &described.domain;
        let shown = |name: &str, axes: Axes, codes: usize| match axes {
            Axes::Grid { rows, columns } => format!("`{name}` with {codes} codes in {rows} rows of {columns}"),
            Axes::Line => format!("`{name}` with {codes} codes in a line"),
        };
        let found = shown(codec.domain(), codec.axes(), codec.vocabulary_size());
        let expected = shown(&described.name, *axes, (ids.end - ids.start) as usize);
        match found == expected {
            true => Ok(Self { described: described.clone(), codec }),
            false => Err(CodecError::OtherCodec { folder: described.files.place(), found, expected }),
        }
    }

    /// How the model describes it.
    pub fn described(&self) -> &ModelCodec {
        &self.described
    }

    /// The type of files that it writes, as in `data:` URLs: `image/png`.
    pub fn media_type(&self) -> &'static str {
        self.codec.media_type()
    }

    /// The tokens of a file's codes; `name` is for messages.
    ///
    /// # Errors
    /// As [`FileCodec::encode_file`].
    pub fn codes(&self, name: &str, bytes: &[u8]) -> Result<Vec<TokenId>, CodecError> {
        let first = self.described.domain.ids.start;
        Ok(self.codec.encode_file(name, bytes)?.into_iter().map(|code| first + code).collect())
    }

    /// The tokens of a file as a text holds them: what opens the span, its codes, what closes it.
    ///
    /// # Errors
    /// As [`FileCodec::encode_file`].
    pub fn span(&self, name: &str, bytes: &[u8]) -> Result<Vec<TokenId>, CodecError> {
        let (open, close) = (self.described.open, self.described.close);
        Ok([vec![open], self.codes(name, bytes)?, vec![close]].concat())
    }

    /// A file of what the codes of a span stand for.
    ///
    /// # Errors
    /// As [`FileCodec::decode_file`], and when a token is none of its codes.
    pub fn file(&self, codes: &[TokenId]) -> Result<Vec<u8>, CodecError> {
        let ids = &self.described.domain.ids;
        let code = |token: &TokenId| ids.contains(token).then(|| token - ids.start).ok_or(*token);
        let codes =
            codes.iter().map(code).collect::<Result<Vec<u32>, TokenId>>().map_err(|token| CodecError::Setting {
                key: "codes",
                given: format!("a list with token {token}"),
                allowed: format!("tokens from {} to {}", ids.start, ids.end - 1),
            })?;
        self.codec.decode_file(&codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Picture, Sound};
    use aquatint_compute::Cpu;
    use aquatint_testing_codecs::{save_pictures, save_sounds};

    #[test]
    fn files_become_tokens_and_tokens_files() {
        let room = tempfile::tempdir().unwrap();
        let device = Cpu::<f32>::scalar();
        save_pictures(room.path(), 2);
        let domain = Domain::grid(100..109, 2, 2);
        let described =
            ModelCodec { name: "picture".to_owned(), domain, open: 90, close: 91, files: room.path().into() };
        let codec = SpanCodec::open(&described, device.clone()).unwrap();
        let picture = Picture::new(8, 8, vec![[200, 30, 30, 255]; 64]).unwrap();
        let codes = codec.codes("red.png", &picture.to_png().unwrap()).unwrap();
        assert!(codes.len() == 4 && codes.iter().all(|code| described.domain.ids.contains(code)));
        let span = codec.span("red.png", &picture.to_png().unwrap()).unwrap();
        assert_eq!(span, [&[90], codes.as_slice(), &[91]].concat());
        let back = Picture::decode("back", &codec.file(&codes).unwrap()).unwrap();
        assert_eq!((back.width(), back.height(), codec.media_type()), (8, 8, "image/png"));

        let outside = codec.file(&[100, 101, 102, 109]).unwrap_err().to_string();
        assert_eq!(outside, "`codes` is a list with token 109; allowed: tokens from 100 to 108");
        assert!(codec.file(&codes[1..]).unwrap_err().to_string().contains("a list of 3; allowed: 4 codes"));
        assert!(codec.codes("a.txt", b"no picture").unwrap_err().to_string().starts_with("`a.txt` is not a picture"));
        let other = ModelCodec { domain: Domain::grid(100..110, 2, 2), ..described };
        let refused = SpanCodec::open(&other, device).unwrap_err().to_string();
        assert!(
            refused.ends_with(
                "holds the codec `picture` with 9 codes in 2 rows of 2, where the model has `picture` with 10 codes in 2 rows of 2"
            ),
            "{refused}"
        );
    }

    #[test]
    fn sounds_become_as_many_tokens_as_they_are_long() {
        let room = tempfile::tempdir().unwrap();
        let device = Cpu::<f32>::scalar();
        save_sounds(room.path());
        let domain = Domain { ids: 100..109, axes: Axes::Line };
        let described = ModelCodec { name: "sound".to_owned(), domain, open: 90, close: 91, files: room.path().into() };
        let codec = SpanCodec::open(&described, device).unwrap();
        let wav = |samples| Sound::new(8000, vec![0.25; samples]).unwrap().to_wav().unwrap();
        let (short, long) = (codec.codes("a.wav", &wav(400)).unwrap(), codec.codes("b.wav", &wav(1001)).unwrap());
        assert_eq!((short.len(), long.len(), codec.media_type()), (2, 6, "audio/wav"));
        let back = Sound::decode("back", &codec.file(&long).unwrap()).unwrap();
        assert_eq!((back.rate(), back.samples().len()), (8000, 1200));
        assert!(codec.codes("a.png", b"none").unwrap_err().to_string().starts_with("`a.png` is not a sound"));
        assert!(codec.file(&[]).unwrap_err().to_string().contains("a list of 0; allowed: 1 to 65536 codes"));
    }
}
