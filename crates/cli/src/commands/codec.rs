//! `aquatint eval codec`: how well pictures or sounds come back from their codes.

use crate::arguments::{CodecArguments, ReportFormat};
use crate::failure::Failure;
use crate::model::warn_of_no_experts;
use crate::printer::Printer;
use crate::{interrupt, wire};
use aquatint::runtime::{DeviceTask, Runtime};
use aquatint_codec::collection::{Collection, Named, is_held_out};
use aquatint_codec::quality::{Reconstruction, measure, measure_rows};
use aquatint_codec::{
    Codec, CodecError, CodecKind, LearnedCodec, Medium, Picture, Pictures, Rate, Sounds, kind_of, sheet,
};
use aquatint_compute::Device;
use aquatint_files::write_atomically;
use serde::Serialize;
use std::marker::PhantomData;
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

/// Pairs on a sheet.
const ON_SHEET: usize = 72;

/// What is reported.
#[derive(Debug, Serialize)]
struct Report {
    codec: String,
    kind: &'static str,
    #[serde(flatten)]
    reconstruction: Reconstruction,
    /// The same without codes: what is lost between samples and rows.
    without_codes: Reconstruction,
    codes_per_picture: Option<usize>,
    codes_per_second: Option<f64>,
    vocabulary: usize,
    weights: u64,
    milliseconds_each: f64,
}

/// Measures on any device.
struct Measure<'a, M>(&'a CodecArguments, PhantomData<M>);

/// What was measured: the report, and pairs for a sheet.
type Measured = (Report, Vec<(Picture, Picture)>);

impl<M: Medium> DeviceTask for Measure<'_, M> {
    type Output = Measured;
    type Error = CodecError;

    fn run<D: Device>(self, device: D) -> Result<Measured, CodecError> {
        let Self(arguments, _) = self;
        let codec = LearnedCodec::<D, M>::open(&arguments.codec, device)?;
        let named = chosen(arguments, codec.medium())?;
        let originals: Vec<&M::Samples> = named.iter().map(|named| &named.samples).collect();
        let begun = Instant::now();
        let (reconstruction, returned) = measure(&codec, &originals, &mut |_| !interrupt::pressed())?;
        let seconds = begun.elapsed().as_secs_f64();
        if let Some(folder) = &arguments.returned {
            for (named, returned) in named.iter().zip(&returned) {
                write::<M>(folder, &named.name, returned)?;
            }
        }
        let (codes_per_picture, codes_per_second) = match codec.rate() {
            Rate::PerPicture(codes) => (Some(codes), None),
            Rate::PerSecond(codes) => (None, Some(codes)),
        };
        let report = Report {
            codec: arguments.codec.display().to_string(),
            kind: M::KIND,
            reconstruction,
            without_codes: measure_rows(codec.medium(), &originals, &mut |_| !interrupt::pressed())?,
            codes_per_picture,
            codes_per_second,
            vocabulary: codec.vocabulary_size(),
            weights: codec.autoencoder().weights().count(),
            milliseconds_each: 1e3 * seconds / returned.len().max(1) as f64,
        };
        let each = if arguments.sheet.is_some() { originals.len().div_ceil(ON_SHEET).max(1) } else { usize::MAX };
        let medium = codec.medium();
        let shown = originals.into_iter().zip(&returned).step_by(each);
        Ok((report, shown.map(|(one, other)| (medium.picture(one), medium.picture(other))).collect()))
    }
}

/// Writes samples into a folder, under the name of the original.
fn write<M: Medium>(folder: &Path, name: &str, samples: &M::Samples) -> Result<(), CodecError> {
    // An archive may give any name to what it holds; none of them leads out of the folder.
    let inside = Path::new(name).components().filter(|part| matches!(part, Component::Normal(_)));
    let path = folder.join(inside.collect::<PathBuf>()).with_extension(M::FILES.extensions[0]);
    let bytes = M::write(samples)?;
    path.parent()
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| write_atomically(&path, |out| out.write_all(&bytes)))
        .map_err(|source| CodecError::io("write", &path, source))
}

/// The samples that are wanted.
fn chosen<M: Medium>(arguments: &CodecArguments, medium: &M) -> Result<Vec<Named<M::Samples>>, CodecError> {
    let (path, folders) = (arguments.data.clone(), arguments.folders.clone());
    let collection = Collection { path, folders, files: M::FILES };
    let mut samples = collection.read(medium, &mut |_| !interrupt::pressed())?;
    if let Some(share) = arguments.held_out {
        samples.retain(|named| is_held_out(&named.concept, share, arguments.seed));
    }
    let (count, most) = (samples.len(), arguments.limit.unwrap_or(usize::MAX).max(1));
    if count > most {
        let mut index = 0;
        samples.retain(|_| {
            index += 1;
            index * most / count != (index - 1) * most / count
        });
    }
    match samples.is_empty() {
        true => Err(collection.has_nothing(M::KIND)),
        false => Ok(samples),
    }
}

pub(crate) fn run(arguments: &CodecArguments, printer: &Printer) -> Result<(), Failure> {
    if let Some(share) = arguments.held_out.filter(|share| !(0.0..=1.0).contains(share)) {
        return Err(Failure::new(format!("`--held-out` is {share}; allowed: a share in [0, 1]")));
    }
    if arguments.device.expert_memory.is_some() {
        warn_of_no_experts("a codec", printer);
    }
    let runtime = arguments.device.runtime(printer)?;
    match kind_of(&arguments.codec)? {
        CodecKind::Pictures => report::<Pictures>(arguments, &runtime, printer),
        CodecKind::Sounds => report::<Sounds>(arguments, &runtime, printer),
    }
}

fn report<M: Medium>(arguments: &CodecArguments, runtime: &Runtime, printer: &Printer) -> Result<(), Failure> {
    let (report, pairs) = runtime.run(Measure::<M>(arguments, PhantomData))?;
    if let Some(path) = &arguments.sheet
        && let Some(sheet) = pairs.first().and_then(|(one, _)| sheet(&pairs, one.width()))
    {
        sheet.save(path)?;
        printer.note(format_args!("sheet of {} {}: {}", pairs.len(), M::KIND, path.display()));
    }
    match arguments.format {
        ReportFormat::Json => printer.data_line(wire::json(&report)?),
        ReportFormat::Human => printer.data(human(&report)),
    }
}

fn human(report: &Report) -> String {
    let Report { kind, reconstruction, without_codes, vocabulary, weights, milliseconds_each, .. } = report;
    let (used, perplexity) = use_of_codes(reconstruction);
    let number = match reconstruction {
        Reconstruction::Pictures(figures) => figures.pictures.to_string(),
        Reconstruction::Sounds(figures) => format!("{}, {:.1} s", figures.sounds, figures.seconds),
    };
    let rate = match (report.codes_per_picture, report.codes_per_second) {
        (Some(codes), _) => rate(Rate::PerPicture(codes)),
        (None, codes) => rate(Rate::PerSecond(codes.unwrap_or_default())),
    };
    format!(
        "{kind:<16}{number}\n\
         quality         {}\n\
         without codes   {}\n\
         codes           {rate}, of {vocabulary}; {:.1} % of them used, perplexity {perplexity:.0}\n\
         weights         {weights}\n\
         time            {milliseconds_each:.2} ms each, to codes and back\n",
        quality(reconstruction),
        quality(without_codes),
        100.0 * used,
    )
}

/// Share of the codes that is used, and their perplexity.
fn use_of_codes(reconstruction: &Reconstruction) -> (f64, f64) {
    match reconstruction {
        Reconstruction::Pictures(figures) => (figures.codes_used, figures.code_perplexity),
        Reconstruction::Sounds(figures) => (figures.codes_used, figures.code_perplexity),
    }
}

/// How near what came back is.
fn quality(reconstruction: &Reconstruction) -> String {
    match reconstruction {
        Reconstruction::Pictures(figures) => format!(
            "PSNR {:.2} dB over white, {:.2} dB of alpha, SSIM {:.4}",
            figures.psnr, figures.alpha_psnr, figures.ssim
        ),
        Reconstruction::Sounds(figures) => format!("log-spectral distance {:.2} dB", figures.log_spectral_distance),
    }
}

/// How much a code stands for, in words.
pub(crate) fn rate(rate: Rate) -> String {
    match rate {
        Rate::PerPicture(codes) => format!("{codes} codes a picture"),
        Rate::PerSecond(codes) => format!("{codes} codes a second"),
    }
}

/// How well held-out samples came back, in one line.
pub(crate) fn short(cost: f64, reconstruction: &Reconstruction) -> String {
    let (figures, (used, perplexity)) = (quality(reconstruction), use_of_codes(reconstruction));
    format!("cost {cost:.4}, {figures}, {:.1} % of the codes used, perplexity {perplexity:.0}", 100.0 * used)
}
