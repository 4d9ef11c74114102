//! A model with guards judges what is given on every path to a result.

use aquatint::guard::{Guards, WordList};
use aquatint::{Error, Model, SamplingOptions, Settings};
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
