//! Sounds in files: WAV and FLAC in, WAV out.

use super::{RATES, Sound};
use crate::CodecError;
use crate::file::read_file;
use aquatint_files::write_atomically;
use hound::{SampleFormat, WavSpec, WavWriter};
use std::io::{Cursor, ErrorKind};
use std::path::Path;
use symphonia::core::codecs::audio::AudioDecoderOptions;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

/// The longest sound that is read.
pub const MOST_SECONDS: u32 = 600;
/// The most samples that are read, all channels together.
pub const MOST_SAMPLES: usize = 1 << 26;
/// How WAV and FLAC files begin; a FLAC file may begin with a tag of another kind.
const BEGINNINGS: [&[u8]; 3] = [b"RIFF", b"fLaC", TAG];
const TAG: &[u8] = b"ID3";

impl Sound {
    /// A sound from the bytes of a file, its channels averaged; `name` is for messages.
    ///
    /// # Errors
    /// When it is of no known format, damaged, too long, without samples, or has samples that are not finite.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, CodecError> {
        let name = || name.to_owned();
        if !BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning)) {
            return Err(CodecError::SoundFormat { name: name() });
        }
        let damaged = |reason: &str| CodecError::DamagedSound { name: name(), reason: reason.replace('\n', " ") };
        let refused = |error: Error| damaged(&error.to_string());
        let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes.to_vec())), Default::default());
        let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
        let probe = symphonia::default::get_probe();
        let mut reader = match probe.probe(&Hint::new(), stream, format, metadata) {
            // Behind a tag may be anything: MP3 files have most of them.
            Err(Error::Unsupported(_)) if bytes.starts_with(TAG) => {
                return Err(CodecError::SoundFormat { name: name() });
            }
            reader => reader.map_err(refused)?,
        };
        let track = reader.default_track(TrackType::Audio).ok_or_else(|| damaged("it has no track"))?;
        let of_track = track.id;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| damaged("its track is no sound"))?;
        let codecs = symphonia::default::get_codecs();
        let mut decoder = codecs.make_audio_decoder(parameters, &AudioDecoderOptions::default()).map_err(refused)?;
        let (mut rate, mut samples, mut packed) = (None, Vec::new(), Vec::new());
        loop {
            let packet = match reader.next_packet() {
                Ok(Some(packet)) => packet,
                // A file that was cut, or written by a pipe that did not know its length, is as much as is there.
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
                Ok(None) => break,
                Err(error) => return Err(refused(error)),
            };
            if packet.track_id != of_track {
                continue;
            }
            let decoded = decoder.decode(&packet).map_err(refused)?;
            let (own, channels) = (decoded.spec().rate(), decoded.num_planes());
            if !RATES.contains(&own) {
                return Err(CodecError::Rate { name: name(), rate: own, allowed: RATES });
            }
            if *rate.get_or_insert(own) != own {
                return Err(damaged("its rate changes"));
            }
            decoded.copy_to_vec_interleaved::<f32>(&mut packed);
            let frames = packed.chunks_exact(channels.max(1));
            samples.extend(frames.map(|frame| frame.iter().sum::<f32>() / frame.len() as f32));
            let too_long = samples.len() as u64 > u64::from(own) * u64::from(MOST_SECONDS);
            if too_long || samples.len() * channels > MOST_SAMPLES {
                return Err(CodecError::LongSound { name: name(), seconds: MOST_SECONDS, samples: MOST_SAMPLES });
            }
        }
        let Some(rate) = rate.filter(|_| !samples.is_empty()) else {
            return Err(CodecError::Silent { name: name() });
        };
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(CodecError::NotFinite { name: name(), seconds: index as f64 / f64::from(rate) });
        }
        Ok(Self { rate, samples })
    }

    /// A sound from a file.
    ///
    /// # Errors
    /// As [`Sound::decode`], and when the file cannot be read or is too large.
    pub fn open(path: &Path) -> Result<Self, CodecError> {
        Self::decode(&path.display().to_string(), &read_file(path)?)
    }

    /// The sound as a WAV file of 16 bits; what is overdriven is cut off.
    ///
    /// # Errors
    /// When it is longer than a WAV file can be.
    pub fn to_wav(&self) -> Result<Vec<u8>, CodecError> {
        let refused = |error: hound::Error| CodecError::DamagedSound { name: "WAV".into(), reason: error.to_string() };
        let spec =
            WavSpec { channels: 1, sample_rate: self.rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut bytes, spec).map_err(refused)?;
        for sample in &self.samples {
            let sample = (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16;
            writer.write_sample(sample).map_err(refused)?;
        }
        writer.finalize().map_err(refused)?;
        Ok(bytes.into_inner())
    }

    /// Writes the sound as a WAV file, whole or not at all.
    ///
    /// # Errors
    /// As [`Sound::to_wav`], and when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CodecError> {
        let bytes = self.to_wav()?;
        write_atomically(path, |out| out.write_all(&bytes)).map_err(|source| CodecError::io("write", path, source))
    }
}
