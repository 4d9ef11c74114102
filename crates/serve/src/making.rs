//! Pictures and sounds that are made of a text: they stand behind it on its canvas.

use crate::app::App;
use crate::error::ApiError;
use crate::filling::Filling;
use crate::models::Loaded;
use crate::sampling::SamplingFields;
use crate::scheduler::{Client, Ended};
use crate::text::Usage;
use aquatint::vocabulary::Media;
use aquatint::{Canvas, FinishReason, MediaFile, OutputPiece, Prepared, Template, TemplateCanvas, random_seed};
use futures_util::future::try_join_all;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// A template whose pictures or sounds are to be made several times with different seeds.
pub(crate) struct Making {
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) client: Client,
    pub(crate) sampling: SamplingFields,
    pub(crate) template: Template,
    pub(crate) count: usize,
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    /// The files of each result, one behind the other.
    pub(crate) files: Vec<MediaFile>,
    pub(crate) usage: Usage,
    /// The seed of the first result; the others count on from it.
    pub(crate) seed: u64,
    /// What was requested and changes nothing.
    pub(crate) warnings: Vec<String>,
}

/// A text, and behind it a picture or a sound that is to be made. A blank stands between them, as in the texts that models
/// learn from.
pub(crate) fn behind(text: &str, media: Media) -> Template {
    let blank = if text.is_empty() || text.ends_with(char::is_whitespace) { "" } else { " " };
    Template::text(text).followed_by(blank).with_media(media)
}

impl Making {
    /// Makes all of it. Errors about the length of the canvas are those of the field `text`.
    ///
    /// # Errors
    /// When a field has a value that it cannot have, too much waits already, the time is up, or the network or the codec
    /// fails.
    pub(crate) async fn run(self, app: &App, text: &'static str) -> Result<Made, ApiError> {
        let Self { loaded, client, sampling, template, count } = self;
        let seed = sampling.seed().unwrap_or_else(random_seed);
        let blame = |error: ApiError| error.of_length(text);
        let model = loaded.clone();
        let prepared = app.blocking.run(client, move || {
            let one = |index: u64| {
                let options = sampling.with_seed(seed.wrapping_add(index)).options(None)?;
                Ok(model.model.prepare_template(template.clone(), &options)?)
            };
            (0..count as u64).map(one).collect::<Result<Vec<Prepared>, ApiError>>()
        });
        let prepared = prepared.await.map_err(blame)?;
        let ineffective = prepared.first().map(|prepared| prepared.ineffective.as_slice()).unwrap_or_default();
        let warnings = ineffective.iter().map(ToString::to_string).collect();
        let mut fillings = Vec::with_capacity(count);
        for prepared in &prepared {
            fillings.push(Filling::start(app, &loaded, prepared, client, 0).map_err(blame)?);
        }
        let ended = try_join_all(fillings.into_iter().map(Filling::finish)).await?;
        let (mut usages, mut canvases) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (Ended { outcome, .. }, Prepared { template_canvas, .. }) in ended.into_iter().zip(prepared) {
            let outcome = outcome.map_err(|error| blame(error.into()))?;
            if outcome.reason == FinishReason::Cancelled {
                return Err(unfinished(app));
            }
            let usage = Usage::new(template_canvas.canvas(), &outcome.statistics);
            app.metrics.result(&usage);
            usages.push(usage);
            canvases.push((template_canvas, outcome));
        }
        let files = app.blocking.run(client, move || {
            let files = canvases.iter().map(|(begun, outcome)| made_files(&loaded, begun, &outcome.canvas));
            files.collect::<Result<Vec<_>, _>>()
        });
        let files = files.await?.concat();
        Ok(Made { files, usage: Usage::sum(usages), seed, warnings })
    }
}

/// The files of what was made on a canvas.
///
/// # Errors
/// When the codec fails.
pub(crate) fn made_files(
    loaded: &Loaded,
    template_canvas: &TemplateCanvas,
    canvas: &Canvas,
) -> Result<Vec<MediaFile>, ApiError> {
    let pieces = loaded.model.output(template_canvas, canvas)?;
    let made = |piece| if let OutputPiece::Media { file, is_made: true } = piece { Some(file) } else { None };
    Ok(pieces.into_iter().filter_map(made).collect())
}

/// The answer where a canvas was cancelled: half a picture is none.
fn unfinished(app: &App) -> ApiError {
    if app.stopping.load(SeqCst) {
        return ApiError::stopping();
    }
    let seconds = app.settings.time_limit.as_secs();
    ApiError::unavailable(&format!("the request took longer than {seconds} s, its wait included")).code("time_limit")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint::vocabulary::MediaKind;

    #[test]
    fn one_blank_stands_between_a_text_and_what_is_made_of_it() {
        let of = |text: &str| behind(text, Media::open(MediaKind::Picture)).to_string();
        assert_eq!([of("A fox."), of("A fox. "), of("")], ["A fox. [[picture]]", "A fox. [[picture]]", "[[picture]]"]);
        assert_eq!(behind("[[3]]", Media::sound(None)).to_string(), "\\[[3]] [[sound]]");
    }
}
