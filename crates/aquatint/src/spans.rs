//! A model of words, pictures and sounds as what is measured: how it makes pictures and sounds behind texts, and words behind
//! either.

use crate::{Error, MediaError, MediaFiles, MediaOptions, Model, Prepared, SamplingOptions, Template};
use aquatint_checkpoint::ModelCodec;
use aquatint_codec::collection::Entries;
use aquatint_codec::{
    Codec, CodecError, LearnedCodec, Matcher, Medium, Picture, PictureCodec, Pictures, Rate, Sound, SoundCodec, Sounds,
};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::PADDING_DOCUMENT;
use aquatint_evaluate::spans::{Captioned, CodesCost, Given, MediaSampling, SpanSubject, Wanted};
use aquatint_evaluate::{CANVASES_PER_PASS, Frames, MeasureSettings};
use aquatint_generate::{GenerateError, Outcome};
use aquatint_vocabulary::{CanvasPiece, Media, MediaKind, Role, Seconds};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Requests that are filled together.
const TOGETHER: usize = 8;
/// Open tokens behind a picture or a sound: enough for eight words.
const OPEN: usize = 16;
/// What a sound of codes is called where it is given as a file.
const HEARD: &str = "heard.wav";
/// Noisy versions of each document whose codes are measured.
const TIMES: usize = 4;

/// A codec of a medium, and its tokens in the model.
struct Spans<M: Medium> {
    codec: LearnedCodec<Cpu<f32>, M>,
    described: ModelCodec,
}

impl<M: Medium> Spans<M> {
    /// That of a model, where it has one.
    fn open(model: &Model) -> Result<Option<Self>, Error> {
        let described = model.checkpoint().codecs.iter().find(|codec| codec.name == M::DOMAIN).cloned();
        let Some(described) = described else { return Ok(None) };
        let device = Cpu::new(CpuPath::best(), 1)?;
        let codec = LearnedCodec::open(&described.files, device).map_err(MediaError::from)?;
        Ok(Some(Self { codec, described }))
    }

    fn codes_of(&self, name: &str, bytes: &[u8]) -> Result<Vec<u32>, Error> {
        let samples = self.codec.medium().read(name, bytes).and_then(|samples| self.codec.encode(&samples));
        Ok(samples.map_err(MediaError::from)?)
    }

    fn codes_again(&self, codes: &[u32]) -> Result<Vec<u32>, Error> {
        let again = self.codec.decode(codes).and_then(|samples| self.codec.encode(&samples));
        Ok(again.map_err(MediaError::from)?)
    }
}

/// A model with the pictures and sounds that it is measured by.
pub struct SpanModel<'a> {
    model: &'a Model,
    pictures: Option<Spans<Pictures>>,
    sounds: Option<Spans<Sounds>>,
    judge: Option<Matcher<Cpu<f32>>>,
    files: HashMap<String, Vec<u8>>,
    go_on: &'a dyn Fn() -> bool,
}

impl<'a> SpanModel<'a> {
    /// Reads the pictures and sounds of these names from folders and archives. `go_on` is called every so often; where it
    /// says no, work ends with [`CodecError::Stopped`].
    ///
    /// # Errors
    /// When the model has neither pictures nor sounds, a codec cannot be opened, or something cannot be read.
    pub fn open(
        model: &'a Model,
        media: &[PathBuf],
        wanted: &HashSet<String>,
        go_on: &'a dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let (pictures, sounds) = (Spans::open(model)?, Spans::open(model)?);
        if pictures.is_none() && sounds.is_none() {
            return Err(MediaError::NoCodec { kind: MediaKind::Picture, there: model.media_kinds() }.into());
        }
        let mut files = HashMap::new();
        for path in media {
            let read = Entries { path }.each(&|name| wanted.contains(name), &mut |name, bytes| {
                files.insert(name, bytes.to_vec());
                if go_on() { Ok(()) } else { Err(CodecError::Stopped) }
            });
            read.map_err(MediaError::from)?;
        }
        Ok(Self { model, pictures, sounds, judge: None, files, go_on })
    }

    /// Judges pictures by the matcher in a folder, too.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened.
    pub fn with_judge(self, folder: &Path) -> Result<Self, Error> {
        let judge = Matcher::open(folder, Cpu::new(CpuPath::best(), 1)?).map_err(MediaError::from)?;
        Ok(Self { judge: Some(judge), ..self })
    }

    /// How many of the files that are wanted are there.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    fn pictures(&self) -> Result<&Spans<Pictures>, Error> {
        let kind = MediaKind::Picture;
        let missing = || MediaError::NoCodec { kind, there: self.model.media_kinds() };
        Ok(self.pictures.as_ref().ok_or_else(missing)?)
    }

    fn sounds(&self) -> Result<&Spans<Sounds>, Error> {
        let kind = MediaKind::Sound;
        let missing = || MediaError::NoCodec { kind, there: self.model.media_kinds() };
        Ok(self.sounds.as_ref().ok_or_else(missing)?)
    }

    fn check(&self) -> Result<(), Error> {
        if (self.go_on)() { Ok(()) } else { Err(MediaError::from(CodecError::Stopped).into()) }
    }

    /// What was prepared, or how many positions of the canvas the model cannot read.
    fn fitting(&self, prepared: Result<Prepared, Error>) -> Result<Result<Prepared, usize>, Error> {
        let context = self.model.checkpoint().spec.context_length;
        let prepared = match prepared {
            Err(Error::Generate(GenerateError::TooLong { length, .. })) => {
                return Ok(Err(length - length.min(context)));
            }
            prepared => prepared?,
        };
        // A network that slides over its text is no longer what was trained on spans there.
        match prepared.template_canvas.canvas().len() {
            length if length > context => Ok(Err(length - context)),
            _ => Ok(Ok(prepared)),
        }
    }

    /// The first token of the codes of a kind.
    fn first_code(&self, kind: MediaKind) -> Result<u32, Error> {
        let described = match kind {
            MediaKind::Picture => &self.pictures()?.described,
            MediaKind::Sound => &self.sounds()?.described,
        };
        Ok(described.domain.ids.start)
    }

    /// Fills those that are there, and makes something of each.
    fn fill<T>(
        &self,
        prepared: &[Option<Prepared>],
        read: impl Fn(usize, Vec<CanvasPiece>) -> T,
    ) -> Result<Vec<Option<T>>, Error> {
        let mut made: Vec<Option<T>> = (0..prepared.len()).map(|_| None).collect();
        let there: Vec<(usize, &Prepared)> =
            prepared.iter().enumerate().filter_map(|(index, prepared)| Some((index, prepared.as_ref()?))).collect();
        for together in there.chunks(TOGETHER) {
            let requests = together.iter().map(|(_, prepared)| self.model.request_of(prepared));
            let requests: Vec<_> = requests.collect::<Result<_, _>>()?;
            let go_on = || if (self.go_on)() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            let outcomes: Vec<Outcome> = self.model.serve(&requests, &mut |_, _| go_on())?;
            self.check()?;
            let vocabulary = &self.model.checkpoint().vocabulary;
            for ((index, prepared), outcome) in together.iter().zip(outcomes) {
                let pieces = prepared.template_canvas.read(vocabulary, &outcome.canvas).pieces;
                made[*index] = Some(read(*index, pieces));
            }
        }
        Ok(made)
    }

    /// The sound of codes, or that of a file in the rate of the codec.
    fn sound(&self, given: Given<'_>) -> Result<Option<Sound>, Error> {
        self.check()?;
        let codec = &self.sounds()?.codec;
        let sound = match given {
            Given::Codes(codes) => codec.decode(codes),
            Given::File(file) => {
                let Some(bytes) = self.files.get(file) else { return Ok(None) };
                codec.medium().read(file, bytes)
            }
        };
        Ok(Some(sound.map_err(MediaError::from)?))
    }

    /// A document as a canvas, its end token behind it; `None` where the model cannot read it.
    fn document(&self, kind: MediaKind, text: &str) -> Result<Option<CanvasBatch>, Error> {
        let named = text.match_indices("[[").find_map(|(open, _)| Some((open, Media::at(text, open)?)));
        let Some((open, (media, end))) = named else { return Ok(None) };
        let Some(bytes) = media.file.as_ref().and_then(|file| self.files.get(file)) else { return Ok(None) };
        let files: MediaFiles = media.file.iter().map(|file| (file.clone(), bytes.clone())).collect();
        let template = Template::text(&text[..open]).with_media(media).followed_by(&text[end..]);
        let laid = self.model.lay_out_with(&template, &files)?;
        let checkpoint = self.model.checkpoint();
        let (canvas, end) = (laid.canvas(), checkpoint.vocabulary.role(Role::End));
        let mut tokens = canvas.tokens().to_vec();
        tokens.extend(end);
        let length = checkpoint.spec.context_length;
        if tokens.len() > length {
            return Ok(None);
        }
        let first = self.first_code(kind)?;
        let is_of_codes = |span: &&aquatint_diffusion::Span| span.domain.ids.start == first;
        let spans = canvas.spans().iter().filter(is_of_codes).cloned().collect();
        let mut documents = vec![0; tokens.len()];
        documents.resize(length, PADDING_DOCUMENT);
        tokens.resize(length, 0);
        Ok(Some(CanvasBatch { length, tokens, documents, text_bytes: vec![0; length], spans, given: Vec::new() }))
    }
}

impl SpanSubject for SpanModel<'_> {
    type Error = Error;

    fn has(&self, kind: MediaKind) -> bool {
        match kind {
            MediaKind::Picture => self.pictures.is_some(),
            MediaKind::Sound => self.sounds.is_some(),
        }
    }

    fn codes_of(&self, kind: MediaKind, file: &str) -> Result<Option<Vec<u32>>, Error> {
        self.check()?;
        let Some(bytes) = self.files.get(file) else { return Ok(None) };
        let codes = match kind {
            MediaKind::Picture => self.pictures()?.codes_of(file, bytes),
            MediaKind::Sound => self.sounds()?.codes_of(file, bytes),
        };
        codes.map(Some)
    }

    fn codes_again(&self, kind: MediaKind, codes: &[u32]) -> Result<Vec<u32>, Error> {
        match kind {
            MediaKind::Picture => self.pictures()?.codes_again(codes),
            MediaKind::Sound => self.sounds()?.codes_again(codes),
        }
    }

    fn point(&self, codes: &[u32]) -> Vec<f32> {
        let levels = self.pictures.as_ref().map(|of| &of.codec.autoencoder().spec().levels);
        let values = |code: &u32| levels.into_iter().flat_map(|levels| levels.values(*code)).collect::<Vec<f64>>();
        codes.iter().flat_map(values).map(|value| value as f32).collect()
    }

    fn frames(&self, given: Given<'_>) -> Result<Option<Frames>, Error> {
        self.check()?;
        let codec: &SoundCodec<Cpu<f32>> = &self.sounds()?.codec;
        let rows = match given {
            Given::Codes(codes) => codec.decode_rows(&[codes.to_vec()]).map(|rows| rows.concat()),
            Given::File(file) => {
                let Some(bytes) = self.files.get(file) else { return Ok(None) };
                codec.medium().read(file, bytes).and_then(|sound| codec.medium().rows(&sound))
            }
        };
        // The frames of a code, which lie one behind the other, as their mean.
        let (bands, columns) = (codec.config().bands, codec.autoencoder().spec().outputs);
        let mean = |row: &[f32]| {
            let mut sum = vec![0.0; bands];
            for frame in row.chunks_exact(bands) {
                sum.iter_mut().zip(frame).for_each(|(sum, value)| *sum += value * bands as f32 / columns as f32);
            }
            sum
        };
        let values = rows.map_err(MediaError::from)?.chunks_exact(columns).flat_map(mean).collect();
        Ok(Some(Frames { bands, values }))
    }

    fn wav(&self, given: Given<'_>) -> Result<Option<Vec<u8>>, Error> {
        let Some(sound) = self.sound(given)? else { return Ok(None) };
        Ok(Some(sound.to_wav().map_err(MediaError::from)?))
    }

    fn make(&self, wanted: &[Wanted<'_>], sampling: MediaSampling) -> Result<Vec<Option<Vec<u32>>>, Error> {
        let MediaSampling { steps, guidance_scale, seed } = sampling;
        let media = MediaOptions { steps: Some(steps), guidance_scale: Some(guidance_scale), temperature: None };
        let options = SamplingOptions { seed: Some(seed), media, ..SamplingOptions::default() };
        let prepare = |of: &Wanted<'_>| {
            let made = match of.kind {
                MediaKind::Picture => Media::open(MediaKind::Picture),
                MediaKind::Sound => Media::sound(self.seconds(of.codes)?),
            };
            let template = Template::text(of.text).with_media(made);
            Ok(self.fitting(self.model.prepare_template(template, &options))?.ok())
        };
        let prepared = wanted.iter().map(prepare).collect::<Result<Vec<_>, Error>>()?;
        let first = wanted.iter().map(|of| self.first_code(of.kind)).collect::<Result<Vec<_>, Error>>()?;
        self.fill(&prepared, |index, pieces| {
            let codes = pieces.into_iter().find_map(|piece| match piece {
                CanvasPiece::Media { codes, .. } => codes.into_iter().collect::<Option<Vec<u32>>>(),
                CanvasPiece::Text(_) => None,
            });
            codes.unwrap_or_default().iter().map(|token| token - first[index]).collect()
        })
    }

    fn words(&self, captioned: &[Captioned<'_>], seed: u64) -> Result<Vec<Option<String>>, Error> {
        let options = SamplingOptions { seed: Some(seed), ..SamplingOptions::default() };
        let prepare = |of: &Captioned<'_>| {
            let (name, bytes): (&str, Cow<'_, [u8]>) = match of.given {
                Given::File(file) => match self.files.get(file) {
                    Some(bytes) => (file, Cow::Borrowed(bytes)),
                    None => return Ok(None),
                },
                // It is heard as everybody hears it: through its samples.
                Given::Codes(_) => match self.wav(of.given)? {
                    Some(bytes) => (HEARD, Cow::Owned(bytes)),
                    None => return Ok(None),
                },
            };
            let files = MediaFiles::from([(name.to_owned(), bytes.into_owned())]);
            let given = Template::default().with_media(Media::given(of.kind, name)).followed_by(of.lead);
            let prepare = |open| self.model.prepare_media(given.clone().continued(open, true), &files, &options);
            match self.fitting(prepare(OPEN))? {
                Ok(ready) => Ok(Some(ready)),
                Err(excess) if excess < OPEN => Ok(self.fitting(prepare(OPEN - excess))?.ok()),
                Err(_) => Ok(None),
            }
        };
        let prepared = captioned.iter().map(prepare).collect::<Result<Vec<_>, Error>>()?;
        self.fill(&prepared, |index, pieces| {
            let text = |piece| if let CanvasPiece::Text(text) = piece { Some(text) } else { None };
            let text: String = pieces.into_iter().filter_map(text).collect();
            text.strip_prefix(captioned[index].lead).unwrap_or(&text).to_owned()
        })
    }

    fn nats_per_code(&self, kind: MediaKind, texts: &[&str], seed: u64) -> Result<Option<CodesCost>, Error> {
        let documents = texts.iter().map(|text| self.document(kind, text)).collect::<Result<Vec<_>, Error>>()?;
        let documents: Vec<CanvasBatch> = documents.into_iter().flatten().collect();
        if documents.is_empty() {
            return Ok(None);
        }
        let batches = documents.chunks(CANVASES_PER_PASS).map(|together| {
            let mut batch = CanvasBatch { length: together[0].length, ..CanvasBatch::default() };
            for (number, one) in together.iter().enumerate() {
                let start = batch.tokens.len();
                let numbered = |document: &u32| if *document == PADDING_DOCUMENT { *document } else { number as u32 };
                batch.tokens.extend_from_slice(&one.tokens);
                batch.documents.extend(one.documents.iter().map(numbered));
                batch.text_bytes.extend_from_slice(&one.text_bytes);
                batch.spans.extend(one.spans.iter().cloned().map(|mut span| {
                    span.positions = span.positions.start + start..span.positions.end + start;
                    span
                }));
            }
            batch.into()
        });
        let settings = MeasureSettings { times: TIMES, seed, ..MeasureSettings::default() };
        let measured = self.model.measure_batches(batches, &settings, &mut |_| (self.go_on)());
        self.check()?;
        let first = self.first_code(kind)?;
        let found = measured?.codes.into_iter().find(|codes| codes.ids.start == first);
        Ok(found.map(|found| CodesCost {
            nats_per_code: found.nats_per_code,
            codes: found.codes,
            uniform: f64::from(found.ids.end - found.ids.start).ln(),
        }))
    }

    fn judged_names(&self, names: &[&str]) -> Result<Option<Vec<Vec<f32>>>, Error> {
        let Some(judge) = &self.judge else { return Ok(None) };
        Ok(Some(judge.texts(names).map_err(MediaError::from)?))
    }

    fn judged(&self, given: Given<'_>) -> Result<Option<Vec<f32>>, Error> {
        let Some(judge) = &self.judge else { return Ok(None) };
        let codec: &PictureCodec<Cpu<f32>> = &self.pictures()?.codec;
        let picture = match given {
            Given::Codes(codes) => codec.decode(codes),
            Given::File(file) => {
                let Some(bytes) = self.files.get(file) else { return Ok(None) };
                Picture::decode_fitted(file, bytes, judge.config().size)
            }
        };
        let picture = picture.map_err(MediaError::from)?;
        Ok(judge.pictures(&[&picture]).map_err(MediaError::from)?.pop())
    }
}

impl SpanModel<'_> {
    /// How long a sound of so many codes is, rounded down to a thousandth, so that it has no code more.
    fn seconds(&self, codes: usize) -> Result<Option<Seconds>, Error> {
        Ok(match self.sounds()?.codec.rate() {
            Rate::PerSecond(rate) => Seconds::new((1000.0 * codes as f64 / rate).floor() / 1000.0),
            Rate::PerPicture(_) => None,
        })
    }
}

impl std::fmt::Debug for SpanModel<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SpanModel").field("files", &self.files.len()).finish_non_exhaustive()
    }
}
