//! `aquatint eval codec`: how well pictures come back from their codes.

use crate::arguments::{CodecArguments, ReportFormat};
use crate::failure::Failure;
use crate::model::warn_of_no_experts;
use crate::printer::Printer;
use crate::{interrupt, wire};
use aquatint::runtime::DeviceTask;
use aquatint_codec::collection::{Collection, NamedPicture, is_held_out};
use aquatint_codec::quality::{Reconstruction, measure};
use aquatint_codec::{Codec, CodecError, Picture, PictureCodec, sheet};
use aquatint_compute::Device;
use serde::Serialize;
use std::time::Instant;

/// Pictures on a sheet.
const ON_SHEET: usize = 72;

/// What is reported.
#[derive(Debug, Serialize)]
struct Report {
    codec: String,
    #[serde(flatten)]
    reconstruction: Reconstruction,
    codes_per_picture: usize,
    vocabulary: usize,
    weights: u64,
    milliseconds_per_picture: f64,
}

/// Measures on any device.
struct Measure<'a>(&'a CodecArguments);

/// What was measured: the report, and each picture beside what came back.
type Measured = (Report, Vec<(Picture, Picture)>);

impl DeviceTask for Measure<'_> {
    type Output = Measured;
    type Error = CodecError;

    fn run<D: Device>(self, device: D) -> Result<Measured, CodecError> {
        let Self(arguments) = self;
        let codec = PictureCodec::open(&arguments.codec, device)?;
        let pictures = pictures(arguments, codec.config().size)?;
        let originals: Vec<&Picture> = pictures.iter().map(|named| &named.picture).collect();
        let begun = Instant::now();
        let (reconstruction, returned) = measure(&codec, &originals, &mut |_| !interrupt::pressed())?;
        let seconds = begun.elapsed().as_secs_f64();
        let report = Report {
            codec: arguments.codec.display().to_string(),
            reconstruction,
            codes_per_picture: codec.autoencoder().spec().places(),
            vocabulary: codec.vocabulary_size(),
            weights: codec.autoencoder().weights().count(),
            milliseconds_per_picture: 1e3 * seconds / returned.len().max(1) as f64,
        };
        Ok((report, pictures.into_iter().map(|named| named.picture).zip(returned).collect()))
    }
}

/// The pictures that are wanted.
fn pictures(arguments: &CodecArguments, size: usize) -> Result<Vec<NamedPicture>, CodecError> {
    let collection = Collection { path: arguments.pictures.clone(), folders: arguments.folders.clone() };
    let mut pictures = collection.read(size, &mut |_| !interrupt::pressed())?;
    if let Some(share) = arguments.held_out {
        pictures.retain(|named| is_held_out(&named.concept, share, arguments.seed));
    }
    let (count, most) = (pictures.len(), arguments.limit.unwrap_or(usize::MAX).max(1));
    if count > most {
        let mut index = 0;
        pictures.retain(|_| {
            index += 1;
            index * most / count != (index - 1) * most / count
        });
    }
    if pictures.is_empty() {
        let (path, folders) = (arguments.pictures.clone(), arguments.folders.clone());
        return Err(CodecError::NoPictures { path, folders });
    }
    Ok(pictures)
}

pub(crate) fn run(arguments: &CodecArguments, printer: &Printer) -> Result<(), Failure> {
    if let Some(share) = arguments.held_out.filter(|share| !(0.0..=1.0).contains(share)) {
        return Err(Failure::new(format!("`--held-out` is {share}; allowed: a share in [0, 1]")));
    }
    if arguments.device.expert_memory.is_some() {
        warn_of_no_experts("a codec", printer);
    }
    let runtime = arguments.device.runtime(printer)?;
    let (report, pairs) = runtime.run(Measure(arguments))?;
    if let Some(path) = &arguments.sheet {
        let each = pairs.len().div_ceil(ON_SHEET).max(1);
        let shown: Vec<(Picture, Picture)> = pairs.into_iter().step_by(each).collect();
        if let Some(sheet) = shown.first().and_then(|(one, _)| sheet(&shown, one.width())) {
            sheet.save(path)?;
            printer.note(format_args!("sheet of {} pictures: {}", shown.len(), path.display()));
        }
    }
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&report)?),
        ReportFormat::Human => printer.data(human(&report)),
    }
}

fn human(report: &Report) -> String {
    let Report { reconstruction: r, codes_per_picture, vocabulary, weights, milliseconds_per_picture, .. } = report;
    format!(
        "pictures        {}\n\
         PSNR            {:.2} dB over white, {:.2} dB of alpha\n\
         SSIM            {:.4}\n\
         codes           {codes_per_picture} a picture of {vocabulary}; {:.1} % of them used, perplexity {:.0}\n\
         weights         {weights}\n\
         time            {milliseconds_per_picture:.2} ms a picture, to codes and back\n",
        r.pictures,
        r.psnr,
        r.alpha_psnr,
        r.ssim,
        100.0 * r.codes_used,
        r.code_perplexity,
    )
}

/// How well held-out pictures came back, in one line.
pub(crate) fn short(cost: f64, reconstruction: &Reconstruction) -> String {
    let Reconstruction { psnr, ssim, codes_used, code_perplexity, .. } = reconstruction;
    format!(
        "cost {cost:.4}, PSNR {psnr:.2} dB, SSIM {ssim:.4}, {:.1} % of the codes used, perplexity {code_perplexity:.0}",
        100.0 * codes_used
    )
}
