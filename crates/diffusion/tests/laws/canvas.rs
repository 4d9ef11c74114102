//! Whatever is done to a canvas, what was given stays.

use aquatint_diffusion::{Canvas, CanvasError, Kind};
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
