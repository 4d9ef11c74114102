//! `aquatint eval answers`: what a model answers to held-out conversations, beside what people answered, and how sure it is.

use crate::arguments::{AnswersArguments, Baseline, ReportFormat};
use crate::failure::Failure;
use crate::printer::Printer;
use crate::written_files::ReportFiles;
use crate::{certainty, interrupt, model, source_report, wire};
use aquatint::{Model, Prepared, SamplingOptions};
use aquatint_corpus::{Source, SourceReport};
use aquatint_evaluate::answers::{
    AnswerScores, DraftFigures, DraftedAnswer, Examined, Mean, Measured, draft_figures, draft_page, draft_tables,
    examined, measured, score,
};
use aquatint_evaluate::{DraftAgreement, EvaluateError, percent_with_interval};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Answers that are written together.
const BATCH: usize = 16;
/// Further drafts of an answer at most; each costs as much as all answers.
const MOST_DRAFTS: usize = 1000;

/// A mean with the ends of its 95 % interval.
#[derive(Debug, Serialize)]
struct Figure {
    mean: f64,
    low: f64,
    high: f64,
}

impl From<Mean> for Figure {
    fn from(Mean { mean, low, high }: Mean) -> Self {
        Self { mean, low, high }
    }
}

/// What one model, or the baseline, reached on one group of questions.
#[derive(Debug, Serialize)]
struct Line {
    model: String,
    /// The value of the field by which rows are grouped; `None` for all rows.
    group: Option<String>,
    answers: usize,
    exact_match: Figure,
    token_f1: Figure,
    rouge_l: Figure,
}

impl Line {
    fn new(model: &str, group: Option<&str>, measured: Measured) -> Self {
        let Measured { answers, exact_match, token_f1, rouge_l } = measured;
        let (model, group) = (model.to_owned(), group.map(str::to_owned));
        let (exact_match, token_f1, rouge_l) = (exact_match.into(), token_f1.into(), rouge_l.into());
        Self { model, group, answers, exact_match, token_f1, rouge_l }
    }
}

/// Who answered, and what.
struct Answered {
    who: String,
    answers: Vec<String>,
    /// Of each answer; empty where no drafts were asked for.
    drafts: Vec<Drafts>,
}

/// The further drafts of an answer, and how sure the model is by them.
struct Drafts {
    texts: Vec<String>,
    agreement: DraftAgreement,
    /// That of the answer at commit.
    probability: Option<f64>,
}

/// What a model answers to a row.
struct Answer {
    text: String,
    probability: Option<f64>,
}

pub(crate) fn run(arguments: &AnswersArguments, printer: &Printer) -> Result<(), Failure> {
    if arguments.models.is_empty() && arguments.baseline.is_none() {
        return Err(Failure::new("there is nobody to answer").hint("name a model, or --baseline bm25"));
    }
    if arguments.limit == Some(0) {
        return Err(Failure::new("`limit` is 0; allowed: 1 or more"));
    }
    check_drafts(arguments, printer)?;
    let files = ReportFiles::begin(arguments.out.as_deref(), arguments.report.as_deref())?;
    let source = Source::new(&arguments.data);
    let (mut rows, counts) = examined(&source, arguments.group.as_deref())?;
    let (path, documents) = (source.path, rows.len() as u64);
    source_report::tell("data", &SourceReport { path, documents, counts, unread: Vec::new() }, printer);
    if let Some(limit) = arguments.limit {
        rows = spread(rows, limit);
    }
    let mut all = Vec::new();
    if let Some(Baseline::Bm25) = arguments.baseline {
        let retrieved = rows.iter().map(|row| row.retrieved().map(str::to_owned));
        all.push(Answered {
            who: "bm25".to_owned(),
            answers: retrieved.collect::<Result<_, _>>()?,
            drafts: Vec::new(),
        });
    }
    let runtime = arguments.device.runtime(printer)?;
    for name in &arguments.models {
        let checkpoint = model::open(Some(name), printer)?;
        arguments.device.warn_of_experts(&checkpoint, printer);
        let network = runtime.network(&checkpoint)?;
        let model = Model::new(checkpoint, network)?;
        let mut options = arguments.sampling.options()?;
        options.seed.get_or_insert(0);
        all.push(answered(&model, &rows, &options, arguments, printer)?);
    }
    let scored: Vec<(&str, Vec<AnswerScores>)> = all.iter().map(|one| (&*one.who, scores(&rows, one))).collect();
    let lines: Vec<Line> = scored.iter().flat_map(|(who, scores)| lines(who, &rows, scores)).collect();
    let sure: Vec<(&str, DraftFigures)> = all
        .iter()
        .zip(&scored)
        .filter_map(|(one, (who, scores))| Some((*who, figures(one, scores, arguments)?)))
        .collect();
    files.write(|| json_lines(&rows, &all, &scored), || draft_page(&sure).html())?;
    match arguments.format {
        ReportFormat::Json => {
            let mut report = serde_json::json!({
                "data": arguments.data,
                "answers": rows.len(),
                "interval": 0.95,
                "results": lines,
            });
            if !sure.is_empty() {
                let of =
                    |(model, figures): &(&str, DraftFigures)| serde_json::json!({ "model": model, "figures": figures });
                report["certainty"] = sure.iter().map(of).collect();
            }
            printer.data_line(wire::json(&report)?)
        }
        ReportFormat::Human => {
            let tables = sure.iter().map(|(model, figures)| format!("\n{}", draft_tables(model, figures)));
            printer.data(table(&lines) + &tables.collect::<String>())
        }
    }
}

/// Refuses what asks for drafts where there are none, and says what has no effect.
fn check_drafts(arguments: &AnswersArguments, printer: &Printer) -> Result<(), Failure> {
    let has_drafts = arguments.drafts > 0 && !arguments.models.is_empty();
    if arguments.drafts > MOST_DRAFTS {
        return Err(Failure::new(format!("`drafts` is {}; allowed: 0 to {MOST_DRAFTS}", arguments.drafts)));
    }
    if let Some(near) = arguments.near.filter(|near| !(0.0..=1.0).contains(near)) {
        return Err(Failure::new(format!("`near` is {near}; allowed: 0 to 1")));
    }
    if arguments.report.is_some() && !has_drafts {
        return Err(Failure::new("without drafts there is nothing to report").hint("name a model, and --drafts 8"));
    }
    if arguments.drafts > 0 && !has_drafts {
        printer.warn("`--drafts` has no effect: only models write drafts");
    }
    if arguments.near.is_some() && !has_drafts {
        printer.warn("`--near` has no effect: there are no drafts");
    }
    Ok(())
}

/// The F1 from which on drafts are near.
fn near(arguments: &AnswersArguments) -> f64 {
    arguments.near.unwrap_or(DraftAgreement::NEAR)
}

/// What a model answers to each row, with the drafts that are asked for.
fn answered(
    model: &Model,
    rows: &[Examined],
    options: &SamplingOptions,
    arguments: &AnswersArguments,
    printer: &Printer,
) -> Result<Answered, Failure> {
    // All that is drawn of a draft is drawn at temperature 1; other settings hold for drafts, too.
    let draft = |number: u64| SamplingOptions {
        temperature: Some(1.0),
        final_temperature: Some(1.0),
        seed: options.seed.map(|seed| seed.wrapping_add(number)),
        ..options.clone()
    };
    let passes: Vec<SamplingOptions> =
        std::iter::once(options.clone()).chain((1..=arguments.drafts as u64).map(draft)).collect();
    warn_of_idle(model, rows, passes.get(..2).unwrap_or(&passes), printer)?;
    let bar = printer.draws().then(|| progress((rows.len() * passes.len()) as u64));
    let mut runs = Vec::new();
    for options in &passes {
        runs.push(answer(model, rows, options, bar.as_ref())?);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let first = runs.remove(0);
    let of = |(row, answer): (usize, &Answer)| {
        let texts: Vec<String> = runs.iter().map(|run| run[row].text.clone()).collect();
        let agreement = DraftAgreement::new(&answer.text, &texts, near(arguments))?;
        Some(Drafts { texts, agreement, probability: answer.probability })
    };
    let drafts = first.iter().enumerate().filter_map(of).collect();
    let answers = first.into_iter().map(|answer| answer.text).collect();
    Ok(Answered { who: model.checkpoint().origin.to_string(), answers, drafts })
}

/// How sure a model is; `None` without drafts.
fn figures(answered: &Answered, scores: &[AnswerScores], arguments: &AnswersArguments) -> Option<DraftFigures> {
    let of = |(drafts, scores): (&Drafts, &AnswerScores)| DraftedAnswer {
        scores: *scores,
        agreement: drafts.agreement,
        probability: drafts.probability,
    };
    let answers: Vec<DraftedAnswer> = answered.drafts.iter().zip(scores).map(of).collect();
    draft_figures(&answers, arguments.drafts, near(arguments))
}

/// At most `limit` rows, spread evenly.
fn spread(rows: Vec<Examined>, limit: usize) -> Vec<Examined> {
    let (count, limit) = (rows.len(), limit.min(rows.len()));
    let chosen: BTreeSet<usize> = (0..limit).map(|index| index * count / limit).collect();
    rows.into_iter().enumerate().filter(|(index, _)| chosen.contains(index)).map(|(_, row)| row).collect()
}

/// Says of the settings that have an effect in no pass the first one, by what the first rows show.
fn warn_of_idle(
    model: &Model,
    rows: &[Examined],
    passes: &[SamplingOptions],
    printer: &Printer,
) -> Result<(), Failure> {
    let mut idle = Vec::new();
    for (pass, options) in passes.iter().enumerate() {
        let mut own = Vec::new();
        for row in rows.iter().take(BATCH) {
            own.extend(model.prepare_conversation(&row.turns, options)?.ineffective);
        }
        if pass == 0 {
            idle = own;
        } else {
            idle.retain(|one| own.iter().any(|other| other.parameter == one.parameter));
        }
    }
    if let Some(one) = idle.first() {
        printer.warn(format_args!("`--{}` has no effect: {}", one.parameter.replace('_', "-"), one.reason));
    }
    Ok(())
}

/// What a model answers to each row.
fn answer(
    model: &Model,
    rows: &[Examined],
    options: &SamplingOptions,
    bar: Option<&ProgressBar>,
) -> Result<Vec<Answer>, Failure> {
    let writer = model.writer()?;
    let mut answers = Vec::new();
    for rows in rows.chunks(BATCH) {
        let prepare = |row: &Examined| model.prepare_conversation(&row.turns, options);
        let prepared: Vec<Prepared> = rows.iter().map(prepare).collect::<Result<_, _>>()?;
        let requests: Vec<_> = prepared.iter().map(|prepared| model.request_of(prepared)).collect::<Result<_, _>>()?;
        let filled = writer.fill_with_certainties(&requests, &mut || !interrupt::pressed());
        let (outcomes, certainties) = filled.map_err(stopped)?;
        for (prepared, (outcome, certainties)) in prepared.iter().zip(outcomes.iter().zip(&certainties)) {
            let vocabulary = &model.checkpoint().vocabulary;
            let holes = prepared.template_canvas.read(vocabulary, &outcome.canvas).holes;
            let spans = certainty::spans(prepared, (&outcome.canvas, &holes), certainties, vocabulary);
            let text = holes.concat().trim().to_owned();
            answers.push(Answer { text, probability: certainty::probability(spans) });
        }
        if let Some(bar) = bar {
            bar.inc(rows.len() as u64);
        }
    }
    Ok(answers)
}

fn scores(rows: &[Examined], answered: &Answered) -> Vec<AnswerScores> {
    let of = |(row, answer): (&Examined, &String)| score(answer, row.references.iter().map(String::as_str));
    rows.iter().zip(&answered.answers).map(of).collect()
}

/// The line of all rows, and behind it one for each group.
fn lines(who: &str, rows: &[Examined], scores: &[AnswerScores]) -> Vec<Line> {
    let groups: BTreeSet<&str> = rows.iter().filter_map(|row| row.group.as_deref()).collect();
    let all = measured(scores).map(|measured| Line::new(who, None, measured));
    let of_group = |group: &&str| {
        let own = rows.iter().zip(scores).filter(|(row, _)| row.group.as_deref() == Some(*group));
        let own: Vec<AnswerScores> = own.map(|(_, scores)| *scores).collect();
        Some(Line::new(who, Some(group), measured(&own)?))
    };
    all.into_iter().chain(groups.iter().filter_map(of_group)).collect()
}

/// What was answered, a row in each line.
fn json_lines(rows: &[Examined], all: &[Answered], scored: &[(&str, Vec<AnswerScores>)]) -> Result<String, Failure> {
    let mut lines = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (answered, (who, scores)) in all.iter().zip(scored) {
            let mut line = serde_json::json!({
                "line": row.row,
                "model": who,
                "group": row.group,
                "answer": answered.answers[index],
                "references": row.references,
                "exact_match": scores[index].exact_match,
                "token_f1": scores[index].token_f1,
                "rouge_l": scores[index].rouge_l,
            });
            if let Some(Drafts { texts, agreement, probability }) = answered.drafts.get(index) {
                line["drafts"] = serde_json::json!(texts);
                line["same_words"] = agreement.same_words.into();
                line["same_cluster"] = agreement.same_cluster.into();
                line["entropy"] = agreement.entropy.into();
                line["probability"] = serde_json::json!(probability);
            }
            lines.push_str(&wire::json(&line)?);
            lines.push('\n');
        }
    }
    Ok(lines)
}

fn stopped(error: EvaluateError) -> Failure {
    match error {
        EvaluateError::Stopped => Failure::interrupted("stopped before everything was answered"),
        _ => error.into(),
    }
}

fn progress(length: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    // The template is a constant; were it wrong, the plain bar would do.
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} answers  {eta} left") {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

fn table(lines: &[Line]) -> String {
    let mut text = String::from(
        "| model | rows | answers | exact match % | token F1 % | ROUGE-L % |\n|---|---|---:|---:|---:|---:|\n",
    );
    for line in lines {
        let figure = |figure: &Figure| percent_with_interval(figure.mean, [figure.low, figure.high]);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            line.model,
            line.group.as_deref().unwrap_or("all"),
            line.answers,
            figure(&line.exact_match),
            figure(&line.token_f1),
            figure(&line.rouge_l)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn row(group: &str, reference: &str) -> Examined {
        Examined {
            turns: Vec::new(),
            references: vec![reference.to_owned()],
            passage: None,
            query: None,
            group: Some(group.to_owned()),
            row: 1,
        }
    }

    #[test]
    fn a_table_has_all_rows_and_each_group() {
        let rows = [row("no", "a fox"), row("yes", "the sun"), row("yes", "the moon")];
        let answers = ["the fox", "the sun set", "rain"].map(str::to_owned).to_vec();
        let scores = scores(&rows, &Answered { who: "m".to_owned(), answers, drafts: Vec::new() });
        assert_snapshot!(table(&lines("m", &rows, &scores)), @"
        | model | rows | answers | exact match % | token F1 % | ROUGE-L % |
        |---|---|---:|---:|---:|---:|
        | m | all | 3 | 33.3 (6.1–79.2) | 55.6 (0.0–100.0) | 43.3 (0.0–89.1) |
        | m | no | 1 | 100.0 (20.7–100.0) | 100.0 (0.0–100.0) | 50.0 (0.0–100.0) |
        | m | yes | 2 | 0.0 (0.0–65.8) | 33.3 (0.0–98.7) | 40.0 (0.0–100.0) |
        ");
    }

    #[test]
    fn rows_are_spread_evenly() {
        let rows = |count| (0..count).map(|index| row(&index.to_string(), "")).collect::<Vec<_>>();
        let groups = |rows: Vec<Examined>| rows.into_iter().filter_map(|row| row.group).collect::<Vec<_>>();
        assert_eq!(groups(spread(rows(10), 3)), ["0", "3", "6"]);
        assert_eq!(groups(spread(rows(2), 5)), ["0", "1"]);
    }
}
