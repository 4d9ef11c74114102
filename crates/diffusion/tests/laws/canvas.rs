//! Whatever is done to a canvas, what was given stays.

use aquatint_diffusion::{Canvas, CanvasError, Domain, Key, Kind, PositionState, Span, reopened_share};
use proptest::prelude::*;

#[derive(Debug, Clone, Copy)]
enum Action {
    Commit,
    Reopen,
    Close,
    ShowNoise,
}

fn actions() -> impl Strategy<Value = Vec<(Action, usize, u32)>> {
    let kinds = [Action::Commit, Action::Reopen, Action::Close, Action::ShowNoise];
    prop::collection::vec((prop::sample::select(kinds.to_vec()), 0usize..24, 0u32..9), 0..200)
}

/// Runs of given, open and padded positions; given tokens are 100 and up, padding shows 99, noise 98.
fn canvases() -> impl Strategy<Value = Canvas> {
    prop::collection::vec((0u8..3, 0usize..6), 1..5).prop_map(|runs| {
        let mut canvas = Canvas::new();
        for (kind, count) in runs {
            match kind {
                0 => canvas.push_given(&(0..count as u32).map(|i| 100 + i).collect::<Vec<_>>()),
                1 => canvas.push_open(count, false, 98),
                _ => canvas.push_padding(count, 99),
            }
        }
        canvas
    })
}

proptest! {
    #![proptest_config(crate::oracle::properties())]

    #[test]
    fn given_and_padded_positions_are_never_written(mut canvas in canvases(), actions in actions()) {
        let before = canvas.clone();
        for (action, position, token) in actions {
            let kind = canvas.kind(position);
            let result = match action {
                Action::Commit => canvas.commit(position, token),
                Action::Reopen => canvas.reopen(position, token),
                Action::Close => canvas.close(position),
                Action::ShowNoise => canvas.show_noise(position, token),
            };
            match kind {
                None => prop_assert_eq!(result, Err(CanvasError::Beyond { position, length: canvas.len() })),
                Some(Kind::Open) => {}
                Some(kind) => prop_assert_eq!(result, Err(CanvasError::Fixed { position, kind })),
            }
        }
        for position in 0..canvas.len() {
            prop_assert_eq!(canvas.kind(position), before.kind(position));
            if canvas.kind(position) != Some(Kind::Open) {
                prop_assert_eq!(canvas.tokens()[position], before.tokens()[position]);
            }
            let stages = [canvas.is_open(position), canvas.is_committed(position), canvas.is_closed(position)];
            let open = canvas.kind(position) == Some(Kind::Open);
            prop_assert_eq!(stages.iter().filter(|s| **s).count(), usize::from(open));
        }
        prop_assert_eq!(canvas.spans(), before.spans());
    }

    #[test]
    fn a_refused_write_changes_nothing(mut canvas in canvases(), actions in actions()) {
        for (action, position, token) in actions {
            let before = canvas.clone();
            let result = match action {
                Action::Commit => canvas.commit(position, token),
                Action::Reopen => canvas.reopen(position, token),
                Action::Close => canvas.close(position),
                Action::ShowNoise => canvas.show_noise(position, token),
            };
            if result.is_err() {
                prop_assert_eq!(&canvas, &before);
            }
        }
    }
}

#[test]
fn an_open_position_goes_through_its_stages() {
    let mut canvas = Canvas::new();
    canvas.push_given(&[5]);
    canvas.push_open(2, true, 9);
    assert_eq!(canvas.tokens(), [5, 9, 9]);
    assert_eq!(canvas.reopen(1, 3), Err(CanvasError::Uncommitted { position: 1 }));
    canvas.commit(1, 3).unwrap();
    assert_eq!(canvas.commit(1, 4), Err(CanvasError::Committed { position: 1 }));
    assert_eq!((canvas.committed_positions(), canvas.open_positions()), (vec![1], vec![2]));
    canvas.reopen(1, 9).unwrap();
    assert_eq!((canvas.tokens(), canvas.open_positions()), ([5, 9, 9].as_slice(), vec![1, 2]));
    canvas.close(2).unwrap();
    assert_eq!(canvas.commit(2, 1), Err(CanvasError::Closed { position: 2 }));
    assert_eq!((canvas.spans()[0].positions.clone(), canvas.spans()[0].approximate), (1..3, true));
}

#[test]
fn refusals_say_what_the_position_is() {
    let mut canvas = Canvas::new();
    canvas.push_given(&[5]);
    assert_eq!(canvas.commit(0, 1).unwrap_err().to_string(), "position 0 is given; only open positions are written");
    assert_eq!(
        canvas.commit(3, 1).unwrap_err().to_string(),
        "`position` is 3; allowed: below 1, the length of the canvas"
    );
}

#[test]
fn a_canvas_of_positions_is_the_canvas_that_they_were_of() {
    let mut canvas = Canvas::new();
    canvas.push_given(&[5, 6]);
    canvas.push_open(4, true, 0);
    canvas.push_open(1, false, 0);
    canvas.push_padding(1, 0);
    canvas.commit(2, 7).unwrap();
    canvas.commit(3, 1).unwrap();
    canvas.close(4).unwrap();
    canvas.close(5).unwrap();
    let positions = |canvas: &Canvas| -> Vec<(u32, PositionState)> {
        (0..canvas.len()).map(|position| (canvas.tokens()[position], canvas.state(position).unwrap())).collect()
    };
    let again = Canvas::from_positions(&positions(&canvas), canvas.spans()).unwrap();
    assert_eq!(again, canvas);
    // Opening a word leaves the end; opening the end leaves what fell away behind it open too.
    assert_eq!(canvas.reopened(&[2]).unwrap().open_positions(), [2, 6]);
    assert_eq!(canvas.reopened(&[3]).unwrap().open_positions(), [3, 4, 5, 6]);
    let given = canvas.reopened(&[0]).unwrap();
    assert_eq!((given.open_positions(), given.spans()[0].positions.clone()), (vec![0, 6], 0..1));
    assert!(matches!(canvas.reopened(&[5]), Err(CanvasError::Closed { position: 5 })));
    assert!(matches!(canvas.reopened(&[7]), Err(CanvasError::Fixed { position: 7, .. })));
    assert!(matches!(canvas.reopened(&[8]), Err(CanvasError::Beyond { position: 8, length: 8 })));
}

#[test]
fn spans_are_divided_where_a_position_is_given_and_made_where_there_are_none() {
    use PositionState::{Closed, Committed, Given, Open, Padding};
    let span = |positions, approximate| Span { positions, approximate, domain: Domain::ANY };
    let of = |states: &[PositionState], spans: &[Span]| {
        let positions: Vec<(u32, PositionState)> = states.iter().map(|state| (3, *state)).collect();
        Canvas::from_positions(&positions, spans).map(|canvas| canvas.spans().to_vec())
    };
    let states = [Open, Committed, Given, Open, Open, Closed, Padding];
    assert_eq!(
        of(&[Open, Committed, Given, Open, Committed, Closed], &[span(0..6, true)]),
        Ok(vec![span(0..2, false), span(3..6, true)])
    );
    assert_eq!(of(&states[..5], &[span(3..4, true)]), Ok(vec![span(0..2, false), span(3..4, true), span(4..5, false)]));
    assert_eq!(of(&[Given], &[span(1..1, true)]), Ok(vec![span(1..1, true)]));
    assert_eq!(of(&states[..5], &[]), Ok(vec![span(0..2, false), span(3..5, false)]));
    let stray = Err(CanvasError::StrayClosed { position: 5 });
    assert_eq!(of(&states, &[]), stray);
    assert_eq!(of(&states, &[span(3..6, true)]), stray);
    assert_eq!(of(&states, &[span(3..7, true)]), Err(CanvasError::PaddedSpan { position: 6 }));
    assert_eq!(of(&[Closed, Open], &[span(0..2, true)]), Err(CanvasError::StrayClosed { position: 0 }));
    assert_eq!(of(&[Committed, Closed, Open], &[span(0..3, true)]), Err(CanvasError::StrayClosed { position: 1 }));
    assert!(of(&[Committed, Closed], &[span(0..2, false)]).is_err());
    for spans in
        [vec![span(2..9, true), span(3..4, false)], vec![span(3..9, false)], vec![span(3..5, false), span(4..5, false)]]
    {
        assert!(matches!(of(&states[..5], &spans), Err(CanvasError::NoSpan { length: 5, .. })), "{spans:?}");
    }
}

#[test]
fn a_share_of_positions_is_opened_again_and_a_larger_one_opens_those_and_more() {
    let positions = [9, 4, 5, 6, 12, 4];
    let open = |strength, seed| reopened_share(&positions, strength, Key::new(seed)).unwrap();
    assert_eq!(open(1.0, 1), [4, 5, 6, 9, 12]);
    let mut counts = [0; 13];
    for seed in 0..400 {
        let (one, two, four) = (open(0.01, seed), open(0.4, seed), open(0.75, seed));
        assert_eq!((one.len(), two.len(), four.len()), (1, 2, 4));
        assert!(two.contains(&one[0]) && two.iter().all(|position| four.contains(position)));
        counts[one[0]] += 1;
    }
    // Each as often as any other: 80 times but for five deviations of 8.
    assert!(counts.iter().all(|count| *count == 0 || (40..120).contains(count)), "{counts:?}");
    assert_eq!(reopened_share(&[], 0.5, Key::new(1)), Ok(vec![]));
    for strength in [0.0, -0.1, 1.1, f64::NAN] {
        let error = reopened_share(&positions, strength, Key::new(1)).unwrap_err();
        assert!(error.to_string().ends_with("allowed: above 0, at most 1"), "{error}");
    }
}
