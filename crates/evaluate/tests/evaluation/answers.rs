//! What answers score, beside reference implementations, and the rows of an examination.

use crate::writing::{known, vocabulary};
use aquatint_corpus::Source;
use aquatint_diffusion::{Layout, TokenId};
use aquatint_evaluate::answers::{exact_match, examined, rouge_l, token_f1};
use aquatint_evaluate::{DraftAgreement, EvaluateError, Writer};
use serde_json::Value;
use std::path::Path;

#[test]
fn scores_are_those_of_the_reference_implementations() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/answers/answers.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let answers = golden["answers"].as_array().unwrap();
    assert!(answers.len() > 10);
    for case in answers {
        let (answer, reference) = (case["answer"].as_str().unwrap(), case["reference"].as_str().unwrap());
        let near = |name: &str, value: f64| {
            let expected = case[name].as_f64().unwrap();
            assert!((value - expected).abs() < 1e-12, "{name} of {answer:?} is {value}, not {expected}");
        };
        near("exact_match", f64::from(u8::from(exact_match(answer, reference))));
        near("token_f1", token_f1(answer, reference));
        near("rouge_l", rouge_l(answer, reference));
    }
}

#[test]
fn rows_have_references_a_passage_and_a_group_where_they_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.jsonl");
    let turns =
        r#""messages": [{"role": "user", "content": "It rained.\nWhy?"}, {"role": "assistant", "content": "Rain."}]"#;
    let whole = r#""references": ["rain", "it rained"], "passage": "It rained. He slept.", "question": "Who slept?", "seen": true"#;
    std::fs::write(&file, format!("{{{turns}, {whole}}}\n{{{turns}, \"seen\": \"no\"}}\n")).unwrap();
    let (rows, counts) = examined(&Source::new(&file), Some("seen")).unwrap();
    assert_eq!((rows.len(), counts.rows, counts.bad_rows), (2, 2, 0));
    assert_eq!(rows[0].references, ["rain", "it rained"]);
    assert_eq!((rows[0].turns.len(), rows[0].turns[0].content.as_str()), (1, "It rained.\nWhy?"));
    assert_eq!(rows.iter().map(|row| row.group.as_deref().unwrap()).collect::<Vec<_>>(), ["true", "no"]);
    assert_eq!(rows[0].retrieved().unwrap(), "He slept.");
    // The answer itself counts where nothing else is named, and there is nothing to retrieve from.
    assert_eq!(rows[1].references, ["Rain."]);
    let lacking = rows[1].retrieved().unwrap_err();
    assert!(matches!(lacking, EvaluateError::NoField { row: 2, .. }), "{lacking}");
    let (ungrouped, _) = examined(&Source::new(&file), None).unwrap();
    assert_eq!(ungrouped[0].group, None);
    let unknown = examined(&Source::new(&file), Some("kind")).unwrap_err().to_string();
    assert_eq!(unknown, "line 1 has no `kind`");
}

#[test]
fn drafts_of_a_model_of_one_certain_answer_agree_and_those_of_one_that_knows_nothing_do_not() {
    let vocabulary = vocabulary("the ran", 260);
    let tokens = vocabulary.encode("red fox").unwrap();
    let agreement = |predict: &(dyn Fn(u32) -> Option<TokenId> + Sync)| {
        let network = known(Layout::Full, &vocabulary, predict);
        let writer = Writer::new(&network, &vocabulary).unwrap();
        let request = |seed: u64| {
            let settings = writer.settings().temperature(1.0).seed(seed).build().unwrap();
            writer.request(writer.empty_canvas(tokens.len()), settings)
        };
        let requests: Vec<_> = (0..5).map(request).collect();
        let (outcomes, certainties) = writer.fill_with_certainties(&requests, &mut || true).unwrap();
        let texts: Vec<String> = outcomes.iter().map(|outcome| vocabulary.decode(&writer.written(outcome))).collect();
        let agreement = DraftAgreement::new(&texts[0], &texts[1..], DraftAgreement::NEAR).unwrap();
        (texts, agreement, certainties[0].at(0).unwrap().probability)
    };
    let (texts, agreed, probability) = agreement(&|position| tokens.get(position as usize).copied());
    assert_eq!(texts, ["red fox"; 5]);
    assert_eq!(agreed, DraftAgreement { same_words: 1.0, same_cluster: 1.0, entropy: 0.0 });
    assert!(probability > 0.999, "{probability}");
    let (texts, apart, probability) = agreement(&|_| None);
    assert_eq!((apart.same_words, apart.same_cluster), (0.0, 0.0), "{texts:?}");
    assert!((apart.entropy - 5f64.ln()).abs() < 1e-12 && probability < 0.01, "{apart:?} {probability}");
}

#[test]
fn a_filling_with_certainties_can_be_stopped() {
    let vocabulary = vocabulary("the ran", 260);
    let network = known(Layout::Full, &vocabulary, |_| None);
    let writer = Writer::new(&network, &vocabulary).unwrap();
    let request = writer.request(writer.empty_canvas(4), writer.settings().seed(1).build().unwrap());
    let stopped = writer.fill_with_certainties(&[request], &mut || false);
    assert!(matches!(stopped, Err(EvaluateError::Stopped)));
}
