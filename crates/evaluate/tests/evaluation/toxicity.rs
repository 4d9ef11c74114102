//! Continuations of prompts by models whose predictions are known, and what is said of their scores, against a reference that
//! lists every subset.

use crate::writing::{known, token, vocabulary};
use aquatint_diffusion::Layout;
use aquatint_evaluate::{
    BiasRow, ContinuationSettings, Continuations, EvaluateError, Prompt, Prompts, ToxicityFigures, Writer,
};
use aquatint_generate::Settings;
use aquatint_network::Denoiser;
use aquatint_testing::Golden;
use serde_json::Value;

#[test]
fn figures_are_those_that_a_reference_finds_among_all_subsets() {
    let file = std::fs::read(Golden::folder("continuations").join("continuations.json")).unwrap();
    let golden: Value = serde_json::from_slice(&file).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 3);
    for case in cases {
        let scores: Vec<Vec<f64>> = serde_json::from_value(case["scores"].clone()).unwrap();
        let found = serde_json::to_value(ToxicityFigures::of("s", None, &scores)).unwrap();
        let close = |found: &Value, expected: &Value, what: &str| match (found.as_f64(), expected.as_f64()) {
            (Some(found), Some(expected)) => assert!((found - expected).abs() < 1e-12, "{what}: {found} {expected}"),
            _ => assert_eq!(found, expected, "{what}"),
        };
        for what in ["expected_maximum", "toxic", "score"] {
            close(&found[what]["value"], &case[what][0], what);
            close(&found[what]["standard_error"], &case[what][1], what);
        }
        close(&found["deviation"], &case["deviation"], "deviation");
        close(&found["any_toxic"]["hits"], &case["any_toxic"], "any_toxic");
        let at = case["by_count"].as_array().unwrap();
        assert_eq!(found["by_count"].as_array().unwrap().len(), at.len());
        for (index, at) in at.iter().enumerate() {
            let found = &found["by_count"][index];
            assert_eq!(found["count"], index + 1);
            ["expected_maximum", "any_toxic"].iter().for_each(|what| close(&found[what], &at[what], what));
        }
    }
}

fn prompt(set: &str, text: &str, toxicity: Option<f64>) -> BiasRow {
    BiasRow::Prompt(Prompt { set: set.to_owned(), text: text.to_owned(), toxicity })
}

/// What is measured, with each prompt's line.
fn measured(
    model: &dyn Denoiser,
    rows: &[BiasRow],
    (count, length, seed): (usize, usize, u64),
    score: &dyn Fn(&str) -> f64,
) -> Result<(Continuations, Vec<Value>), EvaluateError> {
    let vocabulary = vocabulary("the ran", 260);
    let writer = Writer::new(model, &vocabulary)?;
    let sampling = Settings::builder().temperature(1.0).seed(seed).build()?;
    let (mut lines, mut done) = (Vec::new(), 0);
    let settings = ContinuationSettings { count, length, sampling, judges: vec!["a judge".to_owned()] };
    let prompts = Prompts::new(&writer, rows, settings)?;
    let figures = prompts.continuations(score, &mut |line| lines.push(line), &mut |so_far, of| {
        assert!(so_far >= done && so_far <= of, "{so_far} of {of} behind {done}");
        done = so_far;
        true
    })?;
    Ok((figures, lines))
}

#[test]
fn what_is_judged_is_what_the_model_wrote_behind_the_prompt_and_prompts_are_apart_by_set_and_toxicity() {
    let vocabulary = vocabulary("the ran", 260);
    let z = token(&vocabulary, "z");
    let model = known(Layout::Full, &vocabulary, |_| Some(z));
    let rows = [
        prompt("a", "ran", Some(0.5)),
        prompt("a", "the xx", Some(0.49)),
        prompt("a", "the", Some(1.0)),
        prompt("b", "the ran", None),
        prompt("b", &"x".repeat(250), None),
    ];
    // A prompt has no share in its score: it has an x, and what is written has none.
    let score = |text: &str| if text.contains('x') { 1.0 } else { text.len() as f64 / 8.0 };
    let (figures, lines) = measured(&model, &rows, (3, 4, 0), &score).unwrap();
    assert_eq!((figures.too_long, figures.empty, lines.len()), (1, 0, 4));
    assert_eq!(figures.judges, ["a judge"]);
    for (line, row) in lines.iter().zip(1..) {
        assert_eq!(line["row"], row);
        assert_eq!(line["continuations"], serde_json::json!(vec!["zzzz"; 3]), "{line}");
        assert_eq!(line["scores"], serde_json::json!(vec![0.5; 3]), "{line}");
    }
    let of: Vec<_> =
        figures.groups.iter().map(|group| (group.set.as_str(), group.toxic_prompts, group.prompts)).collect();
    assert_eq!(of, [("a", Some(false), 1), ("a", Some(true), 2), ("b", None, 1)]);
    for group in &figures.groups {
        assert_eq!((group.any_toxic.hits, group.any_toxic.count), (group.prompts, group.prompts));
        assert_eq!((group.expected_maximum.value, group.toxic.value), (0.5, 1.0));
    }
    // Nothing that can be judged.
    let blank = token(&vocabulary, ".");
    let silent = known(Layout::Full, &vocabulary, |_| Some(blank));
    let (figures, _) = measured(&silent, &rows, (2, 4, 0), &|_| 0.0).unwrap();
    assert_eq!((figures.empty, figures.groups[0].any_toxic.hits), (8, 0));
}

#[test]
fn continuations_differ_by_their_seeds_and_are_the_same_again() {
    let model = known(Layout::Full, &vocabulary("the ran", 260), |_| None);
    let rows = [prompt("a", "the", None), prompt("a", "the", None)];
    let texts = |count: usize, seed: u64| -> Vec<String> {
        let (_, lines) = measured(&model, &rows, (count, 12, seed), &|_| 0.0).unwrap();
        lines.iter().flat_map(|line| line["continuations"].as_array().unwrap().clone()).map(|t| t.to_string()).collect()
    };
    // Enough of them for several batches.
    let all = texts(150, 7);
    assert_eq!(all, texts(150, 7));
    let distinct: std::collections::BTreeSet<&String> = all.iter().collect();
    // Some are empty, since their first token is the one for the end.
    assert!(all.len() == 300 && distinct.len() > 290, "{}", distinct.len());
    // The first ones of another count have the same seeds, and the next seed begins with the second.
    assert_eq!(all[..2], texts(2, 7)[..2]);
    assert_eq!(all[1..3], texts(2, 8)[..2]);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let model = known(Layout::Full, &vocabulary("the ran", 260), |_| None);
    let rows = [prompt("a", "the", Some(0.7))];
    let refused = |rows: &[BiasRow], shape: (usize, usize), score: f64| {
        measured(&model, rows, (shape.0, shape.1, 0), &|_| score).unwrap_err().to_string()
    };
    for count in [0, 10_001, 10_000_000_000_000, usize::MAX] {
        assert_eq!(refused(&rows, (count, 4), 0.0), format!("`count` is {count}; allowed: 1 to 10000"));
    }
    assert_eq!(refused(&rows, (2, 0), 0.0), "`length` is 0; allowed: 1 or more");
    // The shortest of several prompts leaves most room; some that have none are left out.
    let rows_of = |texts: &[&str]| -> Vec<BiasRow> { texts.iter().map(|text| prompt("a", text, None)).collect() };
    let long = "x".repeat(250);
    for length in [200, usize::MAX] {
        assert_eq!(
            refused(&rows_of(&["xx", &long, "x"]), (2, length), 0.0),
            format!("`length` is {length}; allowed: 1 to 199, which the shortest prompt leaves of 200 tokens")
        );
    }
    let (figures, lines) = measured(&model, &rows_of(&["xx", &long, "x"]), (1, 199, 0), &|_| 0.0).unwrap();
    assert_eq!((figures.too_long, lines.len()), (2, 1));
    // No length makes these fit, so that none is to blame.
    let (figures, lines) = measured(&model, &rows_of(&[&long]), (2, 4, 0), &|_| 0.0).unwrap();
    assert_eq!((figures.too_long, figures.groups.len(), lines.len()), (1, 0, 0));
    assert_eq!(refused(&[], (2, 4), 0.0), "there is no text to measure");
    for score in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        assert_eq!(refused(&rows, (2, 4), score), format!("a text was scored {score}; allowed: 0 to 1"));
    }
    let vocabulary = vocabulary("the ran", 260);
    let writer = Writer::new(&model, &vocabulary).unwrap();
    let sampling = Settings::builder().build().unwrap();
    let settings = |sampling| ContinuationSettings { count: 2, length: 4, sampling, judges: Vec::new() };
    let prompts = Prompts::new(&writer, &rows, settings(sampling)).unwrap();
    let stopped = prompts.continuations(&|_| 0.0, &mut |_| {}, &mut |_, _| false);
    assert!(matches!(stopped, Err(EvaluateError::Stopped)));
    // What does not fit the model is refused before anything is written.
    let sampling = Settings::builder().logit_bias([(9999, 1.0)]).build().unwrap();
    assert!(matches!(Prompts::new(&writer, &rows, settings(sampling)), Err(EvaluateError::Generate(_))));
}
