//! Pictures in files: PNG, JPEG and WebP in, PNG out.

use super::Picture;
use crate::CodecError;
use crate::file::read_file;
use aquatint_files::write_atomically;
use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits, RgbaImage};
use std::io::Cursor;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most pixels of a picture that is read.
pub const MOST_PIXELS: u64 = 40_000_000;
/// The longest side of a picture that is read.
pub const LONGEST_SIDE: u32 = 32_768;
/// Bytes that the pixels of a picture may take as its format has them: four each for the largest picture.
const MOST_BYTES: u64 = MOST_PIXELS * 4;
/// Pictures with more bytes are read one at a time, so that a program that reads many at once has room for one of them only.
const LARGE: u64 = 1 << 24;

/// Whoever reads a large picture holds it.
static READING: Mutex<()> = Mutex::new(());

/// A picture as its format has it.
struct Decoded {
    image: DynamicImage,
    /// How it is turned to be looked at.
    orientation: Orientation,
    _alone: Option<MutexGuard<'static, ()>>,
}

/// What a file holds; its size is checked before anything is decoded.
fn read(name: &str, bytes: &[u8]) -> Result<Decoded, CodecError> {
    let unknown = || CodecError::Format { name: name.to_owned() };
    let damaged = |error: image::ImageError| CodecError::Damaged {
        name: name.to_owned(),
        reason: error.to_string().replace('\n', " "),
    };
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| unknown())?;
    let known = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
    if !reader.format().is_some_and(|format| known.contains(&format)) {
        return Err(unknown());
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let (sides, name) = (1..=LONGEST_SIDE, || name.to_owned());
    if u64::from(width) * u64::from(height) > MOST_PIXELS || !sides.contains(&width) || !sides.contains(&height) {
        return Err(CodecError::TooLarge { name: name(), width, height, most: MOST_PIXELS, longest: LONGEST_SIDE });
    }
    let (taken, each) = (decoder.total_bytes(), decoder.color_type().bytes_per_pixel());
    if taken > MOST_BYTES {
        return Err(CodecError::TooDeep { name: name(), width, height, each, most: MOST_BYTES });
    }
    // What another thread left behind in a panic is nothing.
    let alone = (taken > LARGE).then(|| READING.lock().unwrap_or_else(PoisonError::into_inner));
    let orientation = decoder.orientation().map_err(damaged)?;
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    Ok(Decoded { image, orientation, _alone: alone })
}

impl Picture {
    /// A picture from the bytes of a file, as it is to be looked at (a camera's rotation is undone); `name` is for
    /// messages. Its size is checked before anything is decoded.
    ///
    /// # Errors
    /// When it is of no known format, damaged, or too large.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, CodecError> {
        let Decoded { image, orientation, _alone } = read(name, bytes)?;
        Ok(Self::of_image(image, orientation))
    }

    /// The same in a square of `size` pixels, as [`Picture::fitted`] has it. A large picture takes no more memory than its
    /// format does.
    ///
    /// # Errors
    /// As [`Picture::decode`].
    pub fn decode_fitted(name: &str, bytes: &[u8], size: usize) -> Result<Self, CodecError> {
        let Decoded { image, orientation, _alone } = read(name, bytes)?;
        let (width, height) = (image.width(), image.height());
        let rows = (0..height).map(|row| Self::of_image(image.crop_imm(0, row, width, 1), Orientation::NoTransforms));
        let scaled = Self::scaled(rows.map(|row| row.pixels), (width as usize, height as usize), size);
        let (width, height) = (scaled.width as u32, scaled.height as u32);
        Ok(match RgbaImage::from_raw(width, height, scaled.pixels.as_flattened().to_vec()) {
            Some(image) => Self::of_image(image.into(), orientation),
            None => scaled,
        }
        .centred(size))
    }

    fn of_image(mut image: DynamicImage, orientation: Orientation) -> Self {
        image.apply_orientation(orientation);
        let image = image.into_rgba8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        let pixels = image.pixels().map(|pixel| pixel.0).collect();
        Self { width, height, pixels }
    }

    /// A picture from a file.
    ///
    /// # Errors
    /// As [`Picture::decode`], and when the file cannot be read or is too large.
    pub fn open(path: &Path) -> Result<Self, CodecError> {
        Self::decode(&path.display().to_string(), &read_file(path)?)
    }

    /// The picture as a PNG file.
    ///
    /// # Errors
    /// When it has no pixel.
    pub fn to_png(&self) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new(&mut bytes);
        let (width, height) = (self.width as u32, self.height as u32);
        let written = encoder.write_image(self.pixels.as_flattened(), width, height, ExtendedColorType::Rgba8);
        let refused = |error: image::ImageError| CodecError::Damaged { name: "PNG".into(), reason: error.to_string() };
        written.map_err(refused)?;
        Ok(bytes)
    }

    /// Writes the picture as a PNG file, whole or not at all.
    ///
    /// # Errors
    /// When it has no pixel, or the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), CodecError> {
        let bytes = self.to_png()?;
        write_atomically(path, |out| out.write_all(&bytes)).map_err(|source| CodecError::io("write", path, source))
    }
}
