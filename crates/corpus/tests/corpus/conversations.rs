//! From conversations to canvases: what is given, what is learned, and what is left out.

use crate::support::snapshot;
use aquatint_corpus::{
    CanvasBatch, Conversation, ConversationCanvases, ConversationLayout, ConversationReport, CorpusError, Source,
};
use aquatint_diffusion::PADDING_DOCUMENT;
use aquatint_vocabulary::{ChatTemplate, Role, TokenId, Vocabulary};
use serde_json::json;
use std::path::{Path, PathBuf};

fn vocabulary() -> Vocabulary {
    Vocabulary::train(["Who ran? The fox ran home. Q: A: why".to_owned()].into_iter(), 280).unwrap()
}

fn plain(vocabulary: &Vocabulary) -> ChatTemplate {
    ChatTemplate::new(ChatTemplate::PLAIN, "", &vocabulary.token_text(end(vocabulary))).unwrap()
}

fn end(vocabulary: &Vocabulary) -> TokenId {
    vocabulary.role(Role::End).unwrap()
}

/// A row whose turns are the user's and the assistant's, one after the other.
fn row(turns: &[&str]) -> String {
    let turn = |(index, said): (usize, &&str)| json!({ "role": (["user", "assistant"][index % 2]), "content": said });
    json!({ "messages": turns.iter().enumerate().map(turn).collect::<Vec<_>>() }).to_string()
}

fn file(folder: &Path, rows: &[String]) -> PathBuf {
    let path = folder.join("rows.jsonl");
    std::fs::write(&path, rows.join("\n")).unwrap();
    path
}

fn read(
    source: &Source,
    layout: &ConversationLayout<'_>,
) -> Result<(ConversationCanvases, ConversationReport), CorpusError> {
    let (canvases, mut reports) = ConversationCanvases::read(&[snapshot(source)], layout, &mut |_| true)?;
    Ok((canvases, reports.remove(0)))
}

/// The text of a canvas's positions that are given, or of those that are learned, as far as they are no padding.
fn text(vocabulary: &Vocabulary, batch: &CanvasBatch, given: bool) -> String {
    let tokens: Vec<TokenId> = (0..batch.tokens.len())
        .filter(|at| batch.documents[*at] != PADDING_DOCUMENT && batch.given[*at] == given)
        .map(|at| batch.tokens[at])
        .collect();
    tokens.iter().map(|token| vocabulary.token_text(*token)).collect()
}

#[test]
fn every_answer_is_learned_up_to_its_end_and_everything_else_is_given() {
    let vocabulary = vocabulary();
    let template = plain(&vocabulary);
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[row(&["Who ran?", "The fox.", "Why?", " Home. \n", "Who?"])]);
    let layout = ConversationLayout {
        vocabulary: &vocabulary,
        template: &template,
        canvas_length: 64,
        answer_length: 0,
        packing: false,
    };
    let (canvases, report) = read(&Source::new(&path), &layout).unwrap();
    assert_eq!((canvases.len(), canvases.sequences(), report.source.documents, report.too_long), (1, 1, 1, 0));
    let batch = canvases.batch(&[0]).unwrap();
    let shown = |text: String| text.replace('\u{120}', " ").replace('\u{10A}', "\n");
    assert_eq!(shown(text(&vocabulary, &batch, true)), "Q: Who ran?\nA:\nQ: Why?\nA:");
    assert_eq!(shown(text(&vocabulary, &batch, false)), " The fox.<|end|> Home.<|end|>");
    // Only what is learned has bytes: those of the answers with the blank before them.
    assert_eq!(batch.text_bytes.iter().sum::<u32>() as usize, " The fox. Home.".len());
    assert_eq!(canvases.text_bytes(), " The fox. Home.".len() as u64);
    // What asks for an answer in use is what stands before it here.
    let turns = [aquatint_vocabulary::Message::new("user", "Who ran?")];
    let prompt = vocabulary.encode_marked(&template.render(&turns, true).unwrap()).unwrap();
    assert_eq!(batch.tokens[..prompt.len()], prompt);
    assert!(batch.given[..prompt.len()].iter().all(|given| *given) && !batch.given[prompt.len()]);
}

#[test]
fn the_last_answer_is_filled_with_ends_that_are_learned() {
    let vocabulary = vocabulary();
    let template = plain(&vocabulary);
    let folder = tempfile::tempdir().unwrap();
    let path =
        file(folder.path(), &[row(&["Who?", "The fox."]), row(&["Why?", "The fox ran home and home and home."])]);
    let with = |canvas_length, answer_length| {
        let layout = ConversationLayout {
            vocabulary: &vocabulary,
            template: &template,
            canvas_length,
            answer_length,
            packing: false,
        };
        let (canvases, _) = read(&Source::new(&path), &layout).unwrap();
        canvases.batch(&[0, 1]).unwrap()
    };
    let learned = |batch: &CanvasBatch| -> [usize; 2] { [0, 1].map(|canvas| batch.select([canvas]).learned()) };
    let own = learned(&with(64, 0));
    assert!(own[0] < 12 && own[1] > 12, "{own:?}");
    let filled = with(64, 12);
    // A longer answer has its one end.
    assert_eq!(learned(&filled), [12, own[1]]);
    let first = filled.select([0]);
    let ends = first.tokens.iter().zip(&first.documents);
    let ends = ends.filter(|(token, document)| **document != PADDING_DOCUMENT && **token == end(&vocabulary)).count();
    assert_eq!(ends, 1 + 12 - own[0]);
    // As LLaDA does it, nothing of a canvas is left.
    let whole = with(64, 64);
    assert!(!whole.documents.contains(&PADDING_DOCUMENT));
}

#[test]
fn conversations_share_canvases_and_do_not_see_each_other() {
    let vocabulary = vocabulary();
    let template = plain(&vocabulary);
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<String> = ["fox", "home", "ran", "why"].iter().map(|answer| row(&["Who?", answer])).collect();
    let path = file(folder.path(), &rows);
    let layout = |packing| ConversationLayout {
        vocabulary: &vocabulary,
        template: &template,
        canvas_length: 60,
        answer_length: 6,
        packing,
    };
    let (apart, _) = read(&Source::new(&path), &layout(false)).unwrap();
    let (together, _) = read(&Source { repeat: 3, ..Source::new(&path) }, &layout(true)).unwrap();
    assert_eq!((apart.len(), apart.sequences(), together.sequences()), (4, 4, 4));
    assert!(together.len() < 12 && together.len().is_multiple_of(3), "{}", together.len());
    assert_eq!(together.tokens(), 3 * apart.tokens());
    let batch = together.batch(&(0..together.len() / 3).collect::<Vec<_>>()).unwrap();
    let documents: std::collections::BTreeSet<u32> =
        batch.documents.iter().copied().filter(|document| *document != PADDING_DOCUMENT).collect();
    assert_eq!(documents.len(), 4);
    for document in documents {
        let positions: Vec<usize> = (0..batch.documents.len()).filter(|at| batch.documents[*at] == document).collect();
        assert_eq!(positions.len(), positions.last().unwrap() + 1 - positions[0], "a document lies in one piece");
        let learned = positions.iter().filter(|at| !batch.given[**at]).count();
        assert_eq!(learned, 6);
    }
    assert_eq!(together.overlap(&apart).documents, 4);
    assert!(matches!(apart.batch(&[4]), Err(CorpusError::NoSuchCanvas { given: 4, count: 4 })));
}

#[test]
fn what_no_canvas_holds_is_counted_and_never_cut() {
    let vocabulary = vocabulary();
    let template = plain(&vocabulary);
    let folder = tempfile::tempdir().unwrap();
    let long = "The fox ran home. ".repeat(9);
    let path = file(folder.path(), &[row(&["Who?", "The fox."]), row(&["Who?", &long]), row(&[&long, "The fox."])]);
    let layout = |canvas_length| ConversationLayout {
        vocabulary: &vocabulary,
        template: &template,
        canvas_length,
        answer_length: 8,
        packing: true,
    };
    let (canvases, report) = read(&Source::new(&path), &layout(32)).unwrap();
    assert_eq!((canvases.sequences(), report.source.documents, report.too_long), (1, 1, 2));
    let first = report.first_too_long.unwrap();
    assert_eq!((first.row, first.file.clone()), (2, path.clone()));
    assert!(first.tokens > 32);
    let (whole, report) = read(&Source::new(&path), &layout(first.tokens + 64)).unwrap();
    assert_eq!((whole.sequences(), report.too_long), (3, 0));
    let refused = read(&Source::new(&path), &layout(6)).unwrap_err();
    assert_eq!(refused.hint().as_deref(), Some("take a longer canvas, or shorter conversations"));
    assert!(refused.to_string().ends_with("all 3 conversations are longer than a canvas of 6 tokens"), "{refused}");
}

#[test]
fn rows_without_an_answer_are_named_and_too_many_of_them_end_the_reading() {
    let vocabulary = vocabulary();
    let template = plain(&vocabulary);
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[row(&["Who?", "The fox."]), row(&["Who?"]), "{".to_owned()]);
    let layout = ConversationLayout {
        vocabulary: &vocabulary,
        template: &template,
        canvas_length: 32,
        answer_length: 8,
        packing: true,
    };
    let refused = read(&Source::new(&path), &layout).unwrap_err().to_string();
    assert!(refused.starts_with("2 of 3 rows of"), "{refused}");
    assert!(refused.contains("row 2 of") && refused.contains("there is no answer to learn"), "{refused}");
    let (canvases, report) = read(&Source { max_bad_share: 0.7, ..Source::new(&path) }, &layout).unwrap();
    assert_eq!((canvases.len(), report.source.counts.rows, report.source.counts.bad_rows), (1, 3, 2));
    // A template that refuses a conversation makes a bad row of it, too.
    let strict = ChatTemplate::new("{{ raise_exception('no') }}", "", "").unwrap();
    let layout = ConversationLayout { template: &strict, ..layout };
    let refused = read(&Source { max_bad_share: 1.0, ..Source::new(&path) }, &layout).unwrap_err().to_string();
    assert!(refused.contains("the chat template refuses the conversation: no"), "{refused}");
    let text = folder.path().join("a.txt");
    std::fs::write(&text, "Who?").unwrap();
    let refused = read(&Source::new(&text), &layout).unwrap_err();
    assert!(matches!(refused, CorpusError::NoRows { .. }), "{refused}");
}

#[test]
fn where_a_template_writes_earlier_turns_otherwise_each_answer_has_its_own_canvas() {
    let vocabulary = vocabulary();
    // An answer shows what it thought only as long as it is the last.
    let source = "{% for m in messages %}{% if m.role == 'user' %}Q: {{ m.content }}\n{% else %}A:\
                  {% if loop.last %} why{% endif %} {{ m.content }}{{ eos_token }}\n{% endif %}{% endfor %}\
                  {% if add_generation_prompt %}A:{% endif %}";
    let template = ChatTemplate::new(source, "", &vocabulary.token_text(end(&vocabulary))).unwrap();
    let layout = ConversationLayout {
        vocabulary: &vocabulary,
        template: &template,
        canvas_length: 64,
        answer_length: 0,
        packing: false,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[row(&["Who?", "The fox.", "Why?", "Home."])]);
    let (canvases, report) = read(&Source::new(&path), &layout).unwrap();
    assert_eq!((report.source.documents, canvases.sequences(), canvases.len()), (1, 2, 2));
    let shown = |canvas: u64, given| {
        let batch = canvases.batch(&[canvas]).unwrap();
        text(&vocabulary, &batch, given).replace('\u{120}', " ").replace('\u{10A}', "\n")
    };
    assert_eq!((shown(0, true), shown(0, false)), ("Q: Who?\nA:".to_owned(), " why The fox.<|end|>".to_owned()));
    assert_eq!(shown(1, true), "Q: Who?\nA: The fox.<|end|>\nQ: Why?\nA:");
    assert_eq!(shown(1, false), " why Home.<|end|>");
}

#[test]
fn an_answer_of_weight_zero_stands_there_and_is_not_learned() {
    let vocabulary = vocabulary();
    let template = plain(&vocabulary);
    let layout = ConversationLayout {
        vocabulary: &vocabulary,
        template: &template,
        canvas_length: 64,
        answer_length: 0,
        packing: false,
    };
    let mut turns: serde_json::Value = serde_json::from_str(&row(&["Who?", "The fox.", "Why?", "Home."])).unwrap();
    turns["messages"][1]["weight"] = json!(0);
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), &[turns.to_string()]);
    let source = Source::new(&path);
    let snapshot = snapshot(&source);
    let conversation: Conversation = snapshot.conversations().next().unwrap().unwrap();
    assert_eq!(conversation.learned, [false, false, false, true]);
    let tokens = layout.tokens(&conversation).unwrap();
    let learned = tokens[0].given.iter().filter(|given| !**given).count();
    assert_eq!(learned, vocabulary.encode(" Home.").unwrap().len() + 1);
}
