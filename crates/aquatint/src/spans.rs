//! A model of words and pictures as what is measured: how it makes pictures behind texts and words behind pictures.

use crate::{Error, MediaError, MediaFiles, MediaOptions, Model, Prepared, SamplingOptions, Template};
use aquatint_checkpoint::ModelCodec;
use aquatint_codec::collection::Entries;
use aquatint_codec::{Codec, CodecError, Picture, PictureCodec};
use aquatint_compute::{Cpu, CpuPath};
use aquatint_evaluate::spans::{Captioned, PictureSampling, SpanSubject};
use aquatint_generate::Outcome;
use aquatint_vocabulary::{CanvasPiece, Media, MediaKind};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

/// Requests that are filled together.
const TOGETHER: usize = 8;
/// Open tokens behind a picture: enough for eight words.
const OPEN: usize = 16;

/// A model with the pictures that it is measured by.
pub struct SpanModel<'a> {
    model: &'a Model,
    codec: PictureCodec<Cpu<f32>>,
    described: ModelCodec,
    files: HashMap<String, Vec<u8>>,
    go_on: &'a dyn Fn() -> bool,
}

impl<'a> SpanModel<'a> {
    /// Reads the pictures of these names from a folder or an archive. `go_on` is called every so often; where it says no,
    /// work ends with [`CodecError::Stopped`].
    ///
    /// # Errors
    /// When the model has no pictures, its codec cannot be opened, or something cannot be read.
    pub fn open(
        model: &'a Model,
        media: &Path,
        wanted: &HashSet<String>,
        go_on: &'a dyn Fn() -> bool,
    ) -> Result<Self, Error> {
        let kind = MediaKind::Picture;
        let described = model.checkpoint().codecs.iter().find(|codec| codec.name == kind.name()).cloned();
        let described = described.ok_or_else(|| MediaError::NoCodec { kind, there: model.media_kinds() })?;
        let device = Cpu::new(CpuPath::best(), 1)?;
        let codec = PictureCodec::open(&described.files, device).map_err(MediaError::from)?;
        let mut files = HashMap::new();
        let read = Entries { path: media }.each(&|name| wanted.contains(name), &mut |name, bytes| {
            files.insert(name, bytes.to_vec());
            if go_on() { Ok(()) } else { Err(CodecError::Stopped) }
        });
        read.map_err(MediaError::from)?;
        Ok(Self { model, codec, described, files, go_on })
    }

    /// Positions of a canvas that the model cannot read.
    fn excess(&self, prepared: &Prepared) -> usize {
        let context = self.model.checkpoint().spec.context_length;
        prepared.template_canvas.canvas().len().saturating_sub(context)
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
            let requests: Vec<_> = together.iter().map(|(_, prepared)| self.model.request_of(prepared)).collect();
            let go_on = || if (self.go_on)() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            let outcomes: Vec<Outcome> = self.model.serve(&requests, &mut |_, _| go_on())?;
            if !(self.go_on)() {
                return Err(MediaError::from(CodecError::Stopped).into());
            }
            let vocabulary = &self.model.checkpoint().vocabulary;
            for ((index, prepared), outcome) in together.iter().zip(outcomes) {
                let pieces = prepared.template_canvas.read(vocabulary, &outcome.canvas).pieces;
                made[*index] = Some(read(*index, pieces));
            }
        }
        Ok(made)
    }
}

impl SpanSubject for SpanModel<'_> {
    type Error = Error;

    fn codes_of(&self, file: &str) -> Result<Option<Vec<u32>>, Error> {
        if !(self.go_on)() {
            return Err(MediaError::from(CodecError::Stopped).into());
        }
        let Some(bytes) = self.files.get(file) else { return Ok(None) };
        let encoded = Picture::decode(file, bytes).and_then(|picture| self.codec.encode(&picture));
        Ok(Some(encoded.map_err(MediaError::from)?))
    }

    fn codes_again(&self, codes: &[u32]) -> Result<Vec<u32>, Error> {
        let again = self.codec.decode(codes).and_then(|picture| self.codec.encode(&picture));
        Ok(again.map_err(MediaError::from)?)
    }

    fn point(&self, codes: &[u32]) -> Vec<f32> {
        let levels = &self.codec.autoencoder().spec().levels;
        codes.iter().flat_map(|code| levels.values(*code)).map(|value| value as f32).collect()
    }

    fn pictures(&self, texts: &[&str], sampling: PictureSampling) -> Result<Vec<Option<Vec<u32>>>, Error> {
        let PictureSampling { steps, guidance_scale, seed } = sampling;
        let media = MediaOptions { steps: Some(steps), guidance_scale: Some(guidance_scale), temperature: None };
        let options = SamplingOptions { seed: Some(seed), media, ..SamplingOptions::default() };
        let prepare = |text: &&str| {
            let template = Template::text(*text).with_media(Media::open(MediaKind::Picture));
            let prepared = self.model.prepare_template(template, &options)?;
            Ok((self.excess(&prepared) == 0).then_some(prepared))
        };
        let prepared = texts.iter().map(prepare).collect::<Result<Vec<_>, Error>>()?;
        let first = self.described.domain.ids.start;
        self.fill(&prepared, |_, pieces| {
            let codes = pieces.into_iter().find_map(|piece| match piece {
                CanvasPiece::Media { codes, .. } => codes.into_iter().collect::<Option<Vec<u32>>>(),
                CanvasPiece::Text(_) => None,
            });
            codes.unwrap_or_default().iter().map(|token| token - first).collect()
        })
    }

    fn words(&self, captioned: &[Captioned<'_>], seed: u64) -> Result<Vec<Option<String>>, Error> {
        let options = SamplingOptions { seed: Some(seed), ..SamplingOptions::default() };
        let prepare = |of: &Captioned<'_>| {
            let Some(bytes) = self.files.get(of.file) else { return Ok(None) };
            let files = MediaFiles::from([(of.file.to_owned(), bytes.clone())]);
            let given = Template::default().with_media(Media::given(MediaKind::Picture, of.file)).followed_by(of.lead);
            let prepare = |open| self.model.prepare_media(given.clone().continued(open, true), &files, &options);
            let ready = prepare(OPEN)?;
            match self.excess(&ready) {
                0 => Ok(Some(ready)),
                excess if excess < OPEN => prepare(OPEN - excess).map(Some),
                _ => Ok(None),
            }
        };
        let prepared = captioned.iter().map(prepare).collect::<Result<Vec<_>, Error>>()?;
        self.fill(&prepared, |index, pieces| {
            let text = |piece| if let CanvasPiece::Text(text) = piece { Some(text) } else { None };
            let text: String = pieces.into_iter().filter_map(text).collect();
            text.strip_prefix(captioned[index].lead).unwrap_or(&text).to_owned()
        })
    }
}

impl std::fmt::Debug for SpanModel<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SpanModel").field("files", &self.files.len()).finish_non_exhaustive()
    }
}
