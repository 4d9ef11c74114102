//! The codec of sounds: log-mel frames, a few to a code, through small transformers and finite scalar quantisation; back
//! from log-mel frames by the algorithm of Griffin and Lim.

use crate::medium::{FileNames, Medium, MediumConfig, Returned};
use crate::quality::SoundQuality;
use crate::sound::{GriffinLim, MelBank, RATES, Spectra, SpectraSpec};
use crate::transformers::{Transformers, refuse, require};
use crate::{CodecError, Extent, LearnedCodec, Picture, Rate, Sound, SoundCost};
use aquatint_compute::Element;
use aquatint_network::{AutoencoderSpec, Places};
use aquatint_vocabulary::MediaKind;
use serde::{Deserialize, Serialize};

/// What a codec of sounds is, as its `config.json` and its recipe say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoundConfig {
    /// What is encoded.
    pub kind: SoundKind,
    /// Samples of a second; other sounds are resampled.
    #[serde(default = "defaults::rate")]
    pub rate: u32,
    /// Samples from one frame to the next.
    #[serde(default = "defaults::hop")]
    pub hop: usize,
    /// Samples of a frame, an even number, at least twice `hop`.
    #[serde(default = "defaults::window")]
    pub window: usize,
    /// Mel bands of a frame.
    #[serde(default = "defaults::bands")]
    pub bands: usize,
    /// Frames of a code: a second has `rate / (hop · frames)` codes.
    #[serde(default = "defaults::frames")]
    pub frames: usize,
    /// Levels of each column of a code; their product is the number of codes.
    #[serde(default = "defaults::levels")]
    pub levels: Vec<u32>,
    /// Columns of the residual stream of both transformers.
    #[serde(default = "defaults::width")]
    pub width: usize,
    /// Layers before the codes.
    #[serde(default = "defaults::encoder_layers")]
    pub encoder_layers: usize,
    /// Layers behind the codes.
    #[serde(default = "defaults::decoder_layers")]
    pub decoder_layers: usize,
    /// Attention heads of a layer, as wide as the stream together.
    #[serde(default = "defaults::heads")]
    pub heads: usize,
    /// Columns of the feed-forward part of a layer.
    #[serde(default = "defaults::feed_forward_width")]
    pub feed_forward_width: usize,
    /// How far a layer reaches: the codes less than so many away.
    #[serde(default = "defaults::attention_window")]
    pub attention_window: usize,
}

/// The name of the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SoundKind {
    /// Sounds of one channel.
    Sounds,
}

mod defaults {
    pub(super) fn rate() -> u32 {
        8000
    }
    pub(super) fn hop() -> usize {
        50
    }
    pub(super) fn window() -> usize {
        256
    }
    pub(super) fn bands() -> usize {
        64
    }
    pub(super) fn frames() -> usize {
        4
    }
    pub(super) fn levels() -> Vec<u32> {
        vec![8, 5, 5, 5]
    }
    pub(super) fn width() -> usize {
        128
    }
    pub(super) fn encoder_layers() -> usize {
        2
    }
    pub(super) fn decoder_layers() -> usize {
        3
    }
    pub(super) fn heads() -> usize {
        4
    }
    pub(super) fn feed_forward_width() -> usize {
        256
    }
    pub(super) fn attention_window() -> usize {
        12
    }
}

/// The longest frame, the most bands, the most frames of a code: more is no codec that anybody has.
const LONGEST_WINDOW: usize = 1 << 14;
const MOST_BANDS: usize = 512;
const MOST_FRAMES: usize = 64;
/// The most codes of a sound.
pub const MOST_CODES: usize = 1 << 16;
/// The level that stands for silence, in dB below a full-scale sine; rows have −1 there and 1 at 0 dB.
const FLOOR: f32 = -80.0;
const VOCODER: GriffinLim = GriffinLim { iterations: 60, momentum: 0.99 };
/// Pixels of a side of a spectrum that is looked at.
const SIDE: usize = 128;

impl MediumConfig for SoundConfig {
    type Medium = Sounds;
    type Cost = SoundCost;
}

/// Sounds as samples: one channel of a rate, in log-mel frames.
#[derive(Debug)]
pub struct Sounds {
    rate: u32,
    /// Frames of a code.
    frames: usize,
    spectra: Spectra,
    bank: MelBank,
    bands: usize,
    spec: AutoencoderSpec,
}

/// A codec of sounds.
pub type SoundCodec<D> = LearnedCodec<D, Sounds>;

/// Decibels as numbers of rows, and back.
fn number(decibels: f32) -> f32 {
    1.0 - 2.0 * decibels.max(FLOOR) / FLOOR
}
fn decibels(number: f32) -> f32 {
    (1.0 - number) / 2.0 * FLOOR
}

impl Sounds {
    /// Samples of a code.
    fn part(&self) -> usize {
        self.spectra.hop() * self.frames
    }

    /// Log-mel frames of whole codes, as numbers of rows, `[frames, bands]`.
    pub(crate) fn log_mel(&self, samples: &[f32]) -> Vec<f32> {
        let frames = samples.len().div_ceil(self.part()) * self.frames;
        let scale = self.spectra.scale();
        let spectra = self.spectra.of(samples, frames);
        let mut rows = Vec::with_capacity(frames * self.bands);
        for spectrum in spectra.chunks_exact(self.spectra.bins()) {
            let power: Vec<f32> = spectrum.iter().map(|value| value.norm_sqr() * scale * scale).collect();
            rows.extend(self.bank.of(&power).map(|power| number(10.0 * power.max(1e-20).log10())));
        }
        rows
    }
}

impl Medium for Sounds {
    type Config = SoundConfig;
    type Samples = Sound;
    type Quality = SoundQuality;

    const KIND: &'static str = "sounds";
    const DOMAIN: &'static str = MediaKind::Sound.name();
    const MEDIA_TYPE: &'static str = "audio/wav";
    const FILES: FileNames = FileNames { extensions: &["wav", "flac"], table: "sounds.tsv", concept: "words" };

    fn new(config: &SoundConfig) -> Result<Self, CodecError> {
        let SoundConfig { rate, hop, window, bands, frames, .. } = *config;
        require("codec.rate", rate as usize, *RATES.start() as usize..=*RATES.end() as usize)?;
        require("codec.window", window, 2..=LONGEST_WINDOW)?;
        if !window.is_multiple_of(2) {
            return refuse("codec.window", window, "an even number".to_owned());
        }
        if hop == 0 || 2 * hop > window {
            return refuse("codec.hop", hop, format!("1 to half of `codec.window`, which is {window}"));
        }
        require("codec.bands", bands, 1..=MOST_BANDS)?;
        require("codec.frames", frames, 1..=MOST_FRAMES)?;
        let spectra = Spectra::new(SpectraSpec { window, hop });
        let bank = MelBank::new(bands, spectra.bins(), rate);
        let SoundConfig { width, encoder_layers, decoder_layers, heads, feed_forward_width, .. } = *config;
        let transformers =
            Transformers { levels: &config.levels, width, encoder_layers, decoder_layers, heads, feed_forward_width };
        let spec = transformers.spec(Places::Line { window: config.attention_window }, frames * bands)?;
        Ok(Self { rate, frames, spectra, bank, bands, spec })
    }

    fn spec(&self) -> &AutoencoderSpec {
        &self.spec
    }

    fn extent(&self) -> Extent {
        Extent::Line { most: MOST_CODES }
    }

    fn rate(&self) -> Rate {
        Rate::PerSecond(f64::from(self.rate) / self.part() as f64)
    }

    fn read(&self, name: &str, bytes: &[u8]) -> Result<Sound, CodecError> {
        self.fitted(&Sound::decode(name, bytes)?)
    }

    fn write(sound: &Sound) -> Result<Vec<u8>, CodecError> {
        sound.to_wav()
    }

    fn fitted(&self, sound: &Sound) -> Result<Sound, CodecError> {
        let fitted = sound.resampled(self.rate)?.padded(self.part());
        match fitted.samples().len() / self.part() {
            codes if codes > MOST_CODES => Err(CodecError::TooLong { seconds: fitted.seconds(), most: MOST_CODES }),
            _ => Ok(fitted),
        }
    }

    fn places(&self, sound: &Sound) -> usize {
        sound.samples().len().div_ceil(self.part())
    }

    fn rows(&self, sound: &Sound) -> Result<Vec<f32>, CodecError> {
        match sound.rate() == self.rate {
            true => Ok(self.log_mel(sound.samples())),
            false => Err(CodecError::SampleRate { given: sound.rate(), rate: self.rate }),
        }
    }

    fn samples(&self, rows: &[f32]) -> Sound {
        let scale = self.spectra.scale();
        let power = |number: &f32| match number {
            number if *number > -1.0 => 10.0_f32.powf(decibels(number.min(1.5)) / 10.0),
            _ => 0.0,
        };
        let magnitudes: Vec<f32> = rows
            .chunks_exact(self.bands)
            .flat_map(|frame| self.bank.power(&frame.iter().map(power).collect::<Vec<f32>>()))
            .map(|power| power.sqrt() / scale)
            .collect();
        let length = rows.len() / self.bands * self.spectra.hop();
        let samples = VOCODER.sound(&self.spectra, &magnitudes, length);
        Sound::new(self.rate, samples).expect("a code is some samples, and sums of finite numbers are finite")
    }

    fn cost<E: Element>(&self, cost: &SoundCost, returned: Returned<'_, E, Sound>, gradient: &mut [E]) -> f64 {
        let Returned { rows, wanted, weight } = returned;
        let rows: Vec<f64> = rows.iter().map(|value| value.to_f64()).collect();
        let mut slope = vec![0.0; rows.len()];
        let cost = cost.of(&rows, &self.log_mel(wanted.samples()), self.bands, weight, &mut slope);
        gradient.iter_mut().zip(slope).for_each(|(gradient, slope)| *gradient = E::from_f64(slope));
        cost
    }

    fn cost_weights(cost: &SoundCost) -> Vec<(&'static str, f64)> {
        let SoundCost { level, edges } = *cost;
        vec![("cost.level", level), ("cost.edges", edges)]
    }

    /// The log-mel frames from left to right, high bands above, loud dark.
    fn picture(&self, sound: &Sound) -> Picture {
        let rows = self.log_mel(sound.samples());
        let frames = rows.len() / self.bands;
        let grey = |place: usize| {
            let (band, frame) = (self.bands - 1 - place / frames, place % frames);
            let value = (127.5 * (1.0 - rows[frame * self.bands + band])).round() as u8;
            [value, value, value, 255]
        };
        let picture = Picture::new(frames, self.bands, (0..frames * self.bands).map(grey).collect());
        picture.expect("there are as many pixels as bands of frames").fitted(SIDE)
    }
}
