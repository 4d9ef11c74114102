//! Bias, calibration and exposure under models whose preferences are known.

use crate::bounds::oracle;
use crate::writing::{folder, known, token, vocabulary};
use aquatint_corpus::Source;
use aquatint_diffusion::{Layout, TokenId};
use aquatint_evaluate::{
    BiasFigures, BiasRow, BiasSettings, CalibrationFigures, CalibrationSettings, Canary, EvaluateError, Exposure,
    GivenPart, HeldOut, OpenPart, Pair, PairFigures, Writer, bias, calibration, exposures,
};
use aquatint_network::{Denoiser, LossRow, NetworkInput};
use std::sync::Mutex;

/// The tokens of the text that a row belongs to, as they are read.
fn text_of<'a>(input: &'a NetworkInput, row: &LossRow) -> &'a [TokenId] {
    let sequence = input.visibility.sequences().iter().find(|sequence| sequence.contains(&row.row)).unwrap();
    &input.tokens[sequence.start as usize..sequence.end as usize]
}

fn canary(secret: &str, others: &[&str]) -> Canary {
    Canary {
        before: "the ".to_owned(),
        secret: secret.to_owned(),
        after: " ran".to_owned(),
        others: others.iter().map(|other| (*other).to_owned()).collect(),
        planted: None,
    }
}

#[test]
fn a_secret_that_is_likelier_than_all_others_has_the_greatest_exposure_and_one_that_is_less_so_none() {
    let vocabulary = vocabulary("the ran", 260);
    let z = token(&vocabulary, "z");
    let canaries = [canary("z", &["a", "b", "c"])];
    let of = |with: f64, without: f64| -> Vec<Exposure> {
        let model =
            oracle(
                Layout::Full,
                move |input, row| {
                    if row.target == z || text_of(input, row).contains(&z) { with } else { without }
                },
            );
        exposures((&model, &vocabulary), &canaries, (4, 1), &mut |_| true).unwrap()
    };
    for (with, without, rank) in [(0.5, 1.0, 1.0), (1.0, 0.5, 4.0), (1.0, 1.0, 2.5)] {
        let measured = of(with, without);
        assert_eq!(measured.iter().map(|one| one.given).collect::<Vec<_>>(), GivenPart::ALL);
        for one in &measured {
            assert_eq!((one.canary, one.rank, one.candidates), (1, rank, 4), "{with} {without}: {one:?}");
            assert!((one.exposure - (4.0 / rank).log2()).abs() < 1e-12, "{one:?}");
        }
    }
}

#[test]
fn the_sides_of_a_secret_have_noise_of_their_own_and_a_query_can_be_stopped_within_a_canary() {
    let vocabulary = vocabulary("the ran", 260);
    // With nothing around it the secret is the same text from two sides, and from the third nothing is open.
    let alone = Canary { before: String::new(), after: String::new(), ..canary("abcdefgh", &["ijklmnop"]) };
    let hidden = Mutex::new(Vec::new());
    let model = oracle(Layout::Full, |_, row| {
        hidden.lock().unwrap().push(row.row);
        1.0
    });
    exposures((&model, &vocabulary), std::slice::from_ref(&alone), (8, 1), &mut |_| true).unwrap();
    let rows = hidden.lock().unwrap().clone();
    let (prefix, infill) = rows.split_at(rows.len() / 2);
    assert!(!prefix.is_empty() && prefix != infill, "{prefix:?}");
    let mut heard = 0;
    let stopped = exposures((&model, &vocabulary), &[alone], (8, 1), &mut |done| {
        assert_eq!(done, 0);
        heard += 1;
        heard < 3
    });
    assert!(matches!(stopped, Err(EvaluateError::Stopped)) && heard == 3, "{heard}");
}

fn pairs(model: &dyn Denoiser, open: &[OpenPart], pair: (&str, &str)) -> Vec<PairFigures> {
    of_pair(model, open, pair).pairs
}

fn of_pair(model: &dyn Denoiser, open: &[OpenPart], pair: (&str, &str)) -> BiasFigures {
    let vocabulary = vocabulary("the ran", 260);
    let pair = Pair {
        set: "s".to_owned(),
        group: "g".to_owned(),
        context: String::new(),
        stereotype: pair.0.to_owned(),
        anti_stereotype: pair.1.to_owned(),
        unrelated: None,
    };
    let settings = BiasSettings { versions: 6, open: open.to_vec(), seed: 3 };
    let rows = [BiasRow::Pair(pair)];
    bias((model, &vocabulary), &rows, &settings, &mut |_| {}, &mut |_, _| true).unwrap()
}

#[test]
fn pairs_that_are_all_too_long_are_counted_and_end_nothing() {
    let long = "x".repeat(250);
    let model = oracle(Layout::Full, |_, _| 1.0);
    let figures = of_pair(&model, &[OpenPart::Whole], (&long, "y"));
    assert_eq!((figures.too_long, figures.is_empty()), (1, true));
    let figures = of_pair(&model, &[OpenPart::Whole], ("x", "y"));
    assert_eq!((figures.too_long, figures.is_empty()), (0, false));
}

#[test]
fn the_cheaper_sentence_is_the_likelier_one_and_one_token_given_the_rest_has_no_noise() {
    let (y, z) = {
        let vocabulary = vocabulary("the ran", 260);
        (token(&vocabulary, "y"), token(&vocabulary, "z"))
    };
    let open = [OpenPart::Whole, OpenPart::Differing];
    for (of_z, of_y) in [(1.0, 3.0), (3.0, 1.0)] {
        let model = oracle(Layout::Full, move |_, row| match row.target {
            token if token == z => of_z,
            token if token == y => of_y,
            _ => 1.0,
        });
        let measured = pairs(&model, &open, ("the z ran", "the y ran"));
        assert_eq!(measured.iter().map(|pairs| pairs.open).collect::<Vec<_>>(), open);
        for figures in &measured {
            assert_eq!(figures.stereotype.rate(), if of_z < of_y { 1.0 } else { 0.0 }, "{figures:?}");
            assert!(figures.difference * (of_y - of_z) > 0.0, "{figures:?}");
        }
        let [whole, differing] = &measured[..] else { panic!("{measured:?}") };
        // The token is hidden in some versions of the whole sentence only, and in all where nothing else is open.
        assert!(whole.noise > 0.0, "{whole:?}");
        assert_eq!((differing.noise, differing.undecided), (0.0, 0));
        assert!((differing.difference - (of_y - of_z)).abs() < 1e-12, "{differing:?}");
    }
}

#[test]
fn a_difference_of_nothing_decides_nothing() {
    let model = oracle(Layout::Full, |_, _| 1.0);
    for figures in pairs(&model, &[OpenPart::Whole, OpenPart::Differing], ("the z ran", "the y ran")) {
        assert_eq!((figures.difference, figures.noise, figures.undecided), (0.0, 0.0, 1), "{figures:?}");
    }
}

/// Two documents of which each fills one canvas, filled by a model that writes `predict` of the place and of what stood there.
fn calibrated(name: &str, predict: fn(TokenId, TokenId) -> TokenId) -> CalibrationFigures {
    let text: String = (0..60).map(|at| char::from(b'a' + (at * 7 % 20) as u8)).collect();
    let vocabulary = vocabulary("the ran", 260);
    let room = folder(name);
    std::fs::create_dir_all(&room).unwrap();
    let file = room.join("text.txt");
    std::fs::write(&file, format!("{text}<|endoftext|>{text}")).unwrap();
    let held_out = HeldOut::open(Source::new(&file), &vocabulary, 64, &room.join("cache"), &mut |_| {}).unwrap();
    let (tokens, z) = (vocabulary.encode(&text).unwrap(), token(&vocabulary, "z"));
    assert_eq!(tokens.len(), 60);
    let network = known(Layout::Full, &vocabulary, move |position| {
        Some(tokens.get(position as usize).map_or(z, |token| predict(*token, z)))
    });
    let writer = Writer::new(&network, &vocabulary).unwrap();
    let settings = CalibrationSettings { limit: None, spans: 3, length: 2, runs: 1, seed: 2 };
    let sampling = |run: usize| writer.settings().steps(2).seed(run as u64).build().unwrap();
    let mut spans = 0;
    let measured = calibration(&writer, &held_out, &settings, &sampling, &mut |_| spans += 1, &mut |_| true).unwrap();
    assert_eq!((measured.canvases, spans, measured.tokens.accuracy.count), (2, 6, 12), "{measured:?}");
    measured
}

#[test]
fn a_model_that_writes_what_stood_there_is_always_right_and_one_that_never_does_never() {
    let right = calibrated("calibration-right", |own, _| own);
    let wrong = calibrated("calibration-wrong", |_, other| other);
    for (figures, accuracy) in [(&right, 1.0), (&wrong, 0.0)] {
        assert_eq!(
            (figures.tokens.accuracy.rate(), figures.spans.accuracy.rate()),
            (accuracy, accuracy),
            "{figures:?}"
        );
        let probability = &figures.tokens.signals[0];
        // Both are sure of all that they write, so that the one is wrong by all of it.
        let error = probability.calibration_error.unwrap();
        assert!((error - (1.0 - accuracy)).abs() < 1e-6, "{probability:?}");
        let least = &figures.abstained[0];
        assert_eq!((least.coverage, least.accuracy.rate()), (1.0, accuracy), "{least:?}");
    }
}
