//! Pictures in files: PNG, JPEG and WebP in, PNG out.

use super::Picture;
use crate::CodecError;
use crate::file::read_file;
use aquatint_files::write_atomically;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Limits};
use std::io::Cursor;
use std::path::Path;

/// The most pixels of a picture that is read.
pub const MOST_PIXELS: u64 = 40_000_000;
/// The longest side of a picture that is read.
pub const LONGEST_SIDE: u32 = 32_768;
/// Bytes that a decoder may take: 16 for each pixel, for the widest formats.
const MOST_BYTES: u64 = MOST_PIXELS * 16;

impl Picture {
    /// A picture from the bytes of a file, as it is to be looked at (a camera's rotation is undone); `name` is for
    /// messages. Its size is checked before anything is decoded.
    ///
    /// # Errors
    /// When it is of no known format, damaged, or too large.
    pub fn decode(name: &str, bytes: &[u8]) -> Result<Self, CodecError> {
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
        let sides = 1..=LONGEST_SIDE;
        if u64::from(width) * u64::from(height) > MOST_PIXELS || !sides.contains(&width) || !sides.contains(&height) {
            let (name, most, longest) = (name.to_owned(), MOST_PIXELS, LONGEST_SIDE);
            return Err(CodecError::TooLarge { name, width, height, most, longest });
        }
        let orientation = decoder.orientation().map_err(damaged)?;
        let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        image.apply_orientation(orientation);
        let image = image.into_rgba8();
        let (width, height) = (image.width() as usize, image.height() as usize);
        let pixels = image.pixels().map(|pixel| pixel.0).collect();
        Ok(Self { width, height, pixels })
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
