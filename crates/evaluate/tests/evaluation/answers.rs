//! What answers score, beside reference implementations, and the rows of an examination.

use aquatint_corpus::Source;
use aquatint_evaluate::EvaluateError;
use aquatint_evaluate::answers::{exact_match, examined, rouge_l, token_f1};
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
