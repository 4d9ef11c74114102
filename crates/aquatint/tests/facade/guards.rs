//! A model with guards judges what is given on every path to a result, and what it writes before it is committed.

use aquatint::generate::{DenoisingEvent, GenerateError};
use aquatint::guard::{Guards, WordList};
use aquatint::{Error, Model, Outcome, SamplingOptions, Settings};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

#[test]
fn no_path_leads_round_the_guards() {
    let guards = |list: &str| {
        let list = WordList::parse("words", list).unwrap();
        Some(Guards::new(vec![Arc::new(list)], Guards::REPAIRS))
    };
    let model = Model::open("tales").unwrap().with_guards(guards("pick a lock"));
    let is_refused = |result: Result<(), Error>| matches!(result, Err(Error::Guard(_)));
    let settings = Settings::builder().steps(2).build().unwrap();
    let paths = |template: &str| {
        let laid = model.lay_out(template, 0).unwrap();
        [
            is_refused(model.prepare(template, &SamplingOptions::default()).map(drop)),
            is_refused(model.fill(template, &settings).map(drop)),
            is_refused(model.request(&laid, settings.clone()).map(drop)),
            is_refused(model.watch(&laid, &settings, &mut |_| ControlFlow::Continue(())).map(drop)),
            is_refused(model.request_for(laid.canvas().clone(), settings.clone()).map(drop)),
            is_refused(model.alternatives(laid.canvas(), &[0], 2).map(drop)),
        ]
    };
    assert_eq!(paths("How to pick a lock[[2]]"), [true; 6]);
    assert_eq!(paths("How to pick a[[2]] lock"), [true; 6]);
    assert_eq!(paths("How to pick a flower[[2]]"), [false; 6]);
    // What was made ready without guards is judged when it is requested.
    let free = Model::open("tales").unwrap();
    let prepared = free.prepare("pick a lock[[2]]", &SamplingOptions::default()).unwrap();
    assert!(is_refused(model.request_of(&prepared).map(drop)) && free.request_of(&prepared).is_ok());
    // What is read with positions open is judged as it is read.
    let laid = free.lay_out("pick a very lock[[1]]", 0).unwrap();
    let text = |position: usize| free.checkpoint().vocabulary.decode(&laid.canvas().tokens()[..position]);
    let ends = |text: &str, end: &str| text.trim_end().ends_with(end);
    let from = (0..laid.canvas().len()).find(|at| ends(&text(*at), "pick a")).unwrap();
    let until = (0..laid.canvas().len()).find(|at| ends(&text(*at), "very")).unwrap();
    let opened: Vec<usize> = (from..until).collect();
    assert!(is_refused(model.alternatives(laid.canvas(), &opened, 2).map(drop)), "{opened:?}");
    assert!(model.alternatives(laid.canvas(), &[0], 2).is_ok());
}

#[test]
fn what_is_refused_is_not_committed() {
    let list = |words: &str, repairs| Guards::new(vec![Arc::new(WordList::parse("words", words).unwrap())], repairs);
    let settings = Settings::builder().steps(8).block_length(8).seed(3).build().unwrap();
    // The outcome, and the positions of the blocks that were committed.
    let fill = |model: &Model| -> (Result<Outcome, Error>, BTreeSet<usize>) {
        let laid = model.lay_out("Once upon a time[[24]]", 0).unwrap();
        let (mut block, mut committed) = (Vec::new(), BTreeSet::new());
        let outcome = model.watch(&laid, &settings, &mut |event| {
            match event {
                DenoisingEvent::BlockStarted { positions, .. } => block = positions.to_vec(),
                DenoisingEvent::BlockCommitted { .. } => committed.extend(block.drain(..)),
                DenoisingEvent::Step { changes, .. } => assert!(
                    changes.iter().all(|change| !committed.contains(&change.position)),
                    "what was committed changes: {changes:?}"
                ),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        (outcome, committed)
    };
    let free = Model::open("tales").unwrap();
    let words = |outcome: &Outcome| -> BTreeSet<String> {
        let text = free.checkpoint().vocabulary.decode(outcome.canvas.tokens());
        let words =
            text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase());
        words.filter(|word| word.len() > 2 && word.chars().all(char::is_alphanumeric)).collect()
    };
    let (outcome, all) = fill(&free);
    let mut written = words(&outcome.unwrap());
    written.retain(|word| !["once", "upon", "time"].contains(&word.as_str()));
    assert!(written.len() > 3, "{written:?}");
    let mut repaired = 0;
    for word in &written {
        let guarded = |repairs| Model::open("tales").unwrap().with_guards(Some(list(word, repairs)));
        let (refused, committed) = fill(&guarded(0));
        let is_refused = matches!(refused, Err(Error::Generate(GenerateError::Refused { repairs: 0, .. })));
        assert!(is_refused, "{word}: {refused:?}");
        // Whole blocks, those before the one that has the word.
        assert!(committed.len() < all.len() && committed.len() % 8 == 0 && committed.is_subset(&all), "{committed:?}");
        let outcome = fill(&guarded(20)).0.unwrap();
        assert!(!words(&outcome).contains(word), "{word}");
        repaired += outcome.statistics.repairs;
    }
    assert!(repaired >= written.len(), "{repaired}");
}
