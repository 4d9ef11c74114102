//! Stopping: by an end token, and by predictions that have settled.

use aquatint_diffusion::{Candidate, Canvas, Proposal, Stability, closed_by_end};

const END: u32 = 1;
const MASK: u32 = 9;

fn canvas(approximate: bool, written: &[(usize, u32)]) -> Canvas {
    let mut canvas = Canvas::new();
    canvas.push_given(&[END]);
    canvas.push_open(4, approximate, MASK);
    canvas.push_given(&[7]);
    canvas.push_open(2, approximate, MASK);
    for (position, token) in written {
        canvas.commit(*position, *token).unwrap();
    }
    canvas
}

#[test]
fn an_end_token_closes_what_lies_behind_it_in_its_span() {
    assert_eq!(closed_by_end(&canvas(true, &[(1, 5), (2, END)]), &[END]), [3, 4]);
    assert_eq!(closed_by_end(&canvas(true, &[(1, END), (3, 5), (6, END)]), &[END]), [2, 3, 4, 7]);
    assert_eq!(closed_by_end(&canvas(true, &[]), &[END]), [0usize; 0]);
}

#[test]
fn an_end_token_waits_for_the_positions_before_it() {
    assert_eq!(closed_by_end(&canvas(true, &[(2, END), (3, 5)]), &[END]), [0usize; 0]);
}

#[test]
fn spans_of_an_exact_length_are_not_closed() {
    assert_eq!(closed_by_end(&canvas(false, &[(1, END), (6, END)]), &[END]), [0usize; 0]);
}

#[test]
fn closed_positions_are_named_once() {
    let mut canvas = canvas(true, &[(1, END)]);
    for position in closed_by_end(&canvas, &[END]) {
        canvas.close(position).unwrap();
    }
    assert_eq!(closed_by_end(&canvas, &[END]), [0usize; 0]);
    assert_eq!(canvas.open_positions(), [6, 7]);
}

fn proposal(likeliest: &[(usize, u32)], entropy: f64) -> Proposal {
    let mut proposal = Proposal::new();
    for (position, token) in likeliest {
        let candidate =
            Candidate { token: *token, probability: 0.5, entropy, margin: 0.1, likeliest: *token, mass: 1.0 };
        proposal.insert(*position, candidate);
    }
    proposal
}

#[test]
fn predictions_have_settled_after_enough_equal_and_confident_proposals() {
    // Without patience the entropy alone counts, of the first proposal too.
    let mut hasty = Stability::new(0, 0.01).unwrap();
    assert!(!hasty.settled(&proposal(&[(1, 5), (2, 6)], 0.5)));
    assert!(hasty.settled(&proposal(&[(1, 5), (2, 7)], 0.001)));
    let mut watch = Stability::new(2, 0.01).unwrap();
    assert!(!watch.settled(&proposal(&[(1, 5), (2, 6)], 0.001)));
    assert!(!watch.settled(&proposal(&[(1, 5), (2, 6)], 0.001)));
    assert!(watch.settled(&proposal(&[(1, 5), (2, 6)], 0.001)));
    // A position that was committed has left; the others are the same.
    assert!(watch.settled(&proposal(&[(2, 6)], 0.001)));
    // A changed proposal restarts the count.
    assert!(!watch.settled(&proposal(&[(2, 7)], 0.001)));
    assert!(!watch.settled(&proposal(&[(2, 7)], 0.001)));
    assert!(!watch.settled(&proposal(&[(2, 7)], 0.5)), "not confident");
    assert!(watch.settled(&proposal(&[(2, 7)], 0.001)));
    // A position that came back is new.
    assert!(!watch.settled(&proposal(&[(1, 5), (2, 7)], 0.001)));
    assert!(!watch.settled(&Proposal::new()));
}

#[test]
fn impossible_thresholds_are_refused() {
    assert!(Stability::new(1, 0.0).is_err());
    assert!(Stability::new(1, f64::NAN).is_err());
}
