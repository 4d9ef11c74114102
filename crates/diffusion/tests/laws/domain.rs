//! Spans of several domains: where their positions lie, and what becomes of a grid.

use aquatint_diffusion::{Axes, Canvas, CanvasError, Domain, Kind, PositionState};

const NOISE: u32 = 9;

/// Two tokens, a picture of two rows of three with its first code given, a hole, a picture of two rows of one, a token.
fn canvas() -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[1, 2]);
    let picture = [Some(20), None, None, None, None, None];
    canvas.push_span(&picture, false, Domain::grid(20..30, 2, 3), NOISE).unwrap();
    canvas.push_open(2, true, NOISE);
    canvas.push_span(&[None; 2], false, Domain::grid(20..30, 2, 1), NOISE).unwrap();
    canvas.push_given(&[3]);
    canvas
}

#[test]
fn text_lies_in_a_line_and_a_picture_in_rows() {
    let canvas = canvas();
    let all: Vec<usize> = (0..canvas.len()).collect();
    let picture = [[2, 2, 2], [2, 2, 3], [2, 2, 4], [2, 3, 2], [2, 3, 3], [2, 3, 4]];
    // What follows goes on behind the longer side, which is 3 and then 2.
    let expected = [&[[0; 3], [1; 3]][..], &picture, &[[5; 3], [6; 3]], &[[7, 7, 7], [7, 8, 7]], &[[9; 3]]].concat();
    assert_eq!(canvas.places(&all), expected);
    // A text has its index on all axes.
    let mut text = Canvas::new();
    text.push_given(&[1; 4]);
    text.push_open(3, false, NOISE);
    assert_eq!(text.places(&[0, 1, 4, 6]), [[0; 3], [1; 3], [2; 3], [3; 3]]);
}

#[test]
fn places_are_those_of_the_positions_alone() {
    let canvas = canvas();
    // Without the first token, half of the picture, and all of the second one.
    let some = [1, 3, 5, 7, 8, 9, 12];
    assert_eq!(canvas.places(&some), [[0; 3], [1, 1, 2], [1, 2, 1], [1, 2, 3], [4; 3], [5; 3], [6; 3]]);
    // What comes first has the places that it has alone: rows that are cached stay what they are.
    let all: Vec<usize> = (0..canvas.len()).collect();
    for count in 0..all.len() {
        assert_eq!(canvas.places(&all[..count]), canvas.places(&all)[..count]);
    }
}

#[test]
fn what_is_given_of_a_picture_stays_and_the_picture_stays_whole() {
    let canvas = canvas();
    assert_eq!((canvas.kind(2), canvas.kind(3)), (Some(Kind::Given), Some(Kind::Open)));
    assert_eq!((canvas.tokens()[2], canvas.tokens()[3]), (20, NOISE));
    let mut written = canvas.clone();
    (3..8).for_each(|position| written.commit(position, 21).unwrap());
    let again = written.reopened(&[4]).unwrap();
    assert_eq!(again.spans()[0], canvas.spans()[0]);
    assert_eq!(again.state(3), Some(PositionState::Committed));
    assert!(again.is_open(4));
    let all: Vec<usize> = (0..canvas.len()).collect();
    assert_eq!(again.places(&all), canvas.places(&all));
    // A text is divided where something of it is given, and both pieces hold what the whole does.
    let mut canvas = Canvas::new();
    canvas.push_span(&[None; 3], true, Domain::line(0..9), NOISE).unwrap();
    let states: Vec<(u32, PositionState)> =
        [PositionState::Open, PositionState::Given, PositionState::Open].map(|state| (NOISE, state)).to_vec();
    let divided = Canvas::from_positions(&states, canvas.spans()).unwrap();
    let spans: Vec<_> = divided.spans().iter().map(|span| (span.positions.clone(), span.approximate)).collect();
    assert_eq!(spans, [(0..1, false), (2..3, true)]);
    assert!(divided.spans().iter().all(|span| span.domain == Domain::line(0..9)));
}

#[test]
fn a_grid_has_its_positions_and_never_ends_early() {
    let mut canvas = Canvas::new();
    let error = canvas.push_span(&[None; 5], false, Domain::grid(0..9, 2, 3), NOISE).unwrap_err();
    assert_eq!(error, CanvasError::NoGrid { rows: 2, columns: 3, length: 5, approximate: false });
    assert_eq!(error.to_string(), "a span of 2 rows of 3 has 5 positions; allowed: 2 times 3, of exact length");
    let error = canvas.push_span(&[None; 6], true, Domain::grid(0..9, 2, 3), NOISE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a span of 2 rows of 3 has 6 positions, and an approximate length; allowed: 2 times 3, of exact length"
    );
    let endless = Domain::grid(0..9, usize::MAX, 2);
    assert!(canvas.push_span(&[None; 2], false, endless, NOISE).is_err());
    assert!(canvas.is_empty() && canvas.spans().is_empty());
    assert_eq!((Axes::Line.positions(), Domain::ANY.is_grid()), (None, false));
}
