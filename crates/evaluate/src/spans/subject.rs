//! What is measured, as the bench sees it.

use crate::Frames;
use aquatint_vocabulary::MediaKind;
use serde::Serialize;

/// A model of words, pictures and sounds, with their codecs and the files that rows name.
pub trait SpanSubject {
    /// Why it could not be measured.
    type Error;

    /// Whether it has codes of a kind.
    fn has(&self, kind: MediaKind) -> bool;

    /// The codes of a picture or a sound that rows name; `None` where it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    fn codes_of(&self, kind: MediaKind, file: &str) -> Result<Option<Vec<u32>>, Self::Error>;

    /// The codes of what the codec gives back for codes.
    ///
    /// # Errors
    /// When the codec fails.
    fn codes_again(&self, kind: MediaKind, codes: &[u32]) -> Result<Vec<u32>, Self::Error>;

    /// By what pictures are compared: the values of all columns of all codes, each from −1 to 1.
    fn point(&self, codes: &[u32]) -> Vec<f32>;

    /// By what sounds are compared: log-mel frames, one for each code. `None` where the file is not there.
    ///
    /// # Errors
    /// When it cannot be read, or the codec fails.
    fn frames(&self, sound: Given<'_>) -> Result<Option<Frames>, Self::Error>;

    /// A sound as the bytes of a WAV file, in the rate of the codec. `None` where the file is not there.
    ///
    /// # Errors
    /// As [`SpanSubject::frames`].
    fn wav(&self, sound: Given<'_>) -> Result<Option<Vec<u8>>, Self::Error>;

    /// The codes of what is made behind texts; `None` for a text that the model cannot read with it.
    ///
    /// # Errors
    /// When the model fails.
    fn make(&self, wanted: &[Wanted<'_>], sampling: MediaSampling) -> Result<Vec<Option<Vec<u32>>>, Self::Error>;

    /// The words that are written behind pictures or sounds and their leads; `None` where the model cannot read one, or it
    /// is not there.
    ///
    /// # Errors
    /// When the model fails.
    fn words(&self, captioned: &[Captioned<'_>], seed: u64) -> Result<Vec<Option<String>>, Self::Error>;

    /// What the codes of a kind cost in these texts, which name files; those that the model cannot read are left out.
    /// `None` where no code is measured.
    ///
    /// # Errors
    /// When the model fails.
    fn nats_per_code(&self, kind: MediaKind, texts: &[&str], seed: u64) -> Result<Option<CodesCost>, Self::Error>;

    /// The vectors of names under a judge of pictures; `None` without a judge.
    ///
    /// # Errors
    /// When the judge fails.
    fn judged_names(&self, names: &[&str]) -> Result<Option<Vec<Vec<f32>>>, Self::Error>;

    /// The vector of a picture under it; `None` without a judge, and where the file is not there.
    ///
    /// # Errors
    /// When it cannot be read, or the judge fails.
    fn judged(&self, picture: Given<'_>) -> Result<Option<Vec<f32>>, Self::Error>;
}

/// How pictures and sounds are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MediaSampling {
    /// Denoising steps.
    pub steps: usize,
    /// How far they follow their text.
    pub guidance_scale: f64,
    /// The seed.
    pub seed: u64,
}

/// What is to be made behind a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// A picture or a sound.
    pub kind: MediaKind,
    /// The text.
    pub text: &'a str,
    /// Codes of a sound; a picture has as many as its codec says.
    pub codes: usize,
}

/// A picture or a sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    /// That of a file that rows name.
    File(&'a str),
    /// That of codes.
    Codes(&'a [u32]),
}

/// A picture or a sound that words are written behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captioned<'a> {
    /// Which of them.
    pub kind: MediaKind,
    /// It.
    pub given: Given<'a>,
    /// What is given behind it: the name of a language and a colon, or nothing.
    pub lead: &'a str,
    /// The words that name what it shows or says.
    pub name: &'a str,
}

/// What held-out codes cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CodesCost {
    /// Nats per code, in expectation at least what the model pays for them beside their text.
    pub nats_per_code: f64,
    /// Codes measured.
    pub codes: u64,
    /// What a code costs where all are alike: the logarithm of their number.
    pub uniform: f64,
}
