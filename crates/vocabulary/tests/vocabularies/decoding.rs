//! Tokens of every kind of tokenizer back to text, as the `tokenizers` crate reads them and in pieces.

use crate::kinds::{KINDS, WORDS, bytes_of};
use aquatint_diffusion::Kind;
use aquatint_vocabulary::{Before, CanvasText, Holding, Role, Template, TokenId, Vocabulary};
use proptest::prelude::*;
use tokenizers::Tokenizer;

fn vocabulary(kind: &str) -> Vocabulary {
    Vocabulary::from_json(&bytes_of(kind)).unwrap()
}

/// What fills the holes of a template, tokens by their names or as texts.
fn filled(kind: &str, template: &str, holes: &[&[&str]]) -> CanvasText {
    let vocabulary = vocabulary(kind);
    let tokenizer = Tokenizer::from_bytes(bytes_of(kind)).unwrap();
    let laid_out = Template::parse(template).unwrap().lay_out(&vocabulary).unwrap();
    let mut canvas = laid_out.canvas().clone();
    for (span, tokens) in laid_out.canvas().spans().iter().zip(holes) {
        for (offset, position) in span.positions.clone().enumerate() {
            match tokens.get(offset) {
                Some(name) => canvas.commit(position, tokenizer.token_to_id(name).expect(name)).unwrap(),
                None => canvas.close(position).unwrap(),
            }
        }
    }
    let read = laid_out.read(&vocabulary, &canvas);
    // What is drawn at the end says the same.
    let holding = |position: usize| match canvas.kind(position) {
        Some(Kind::Open) if !canvas.is_committed(position) => Holding::Nothing,
        _ => Holding::Token(canvas.tokens()[position]),
    };
    let holdings: Vec<Holding> = (0..canvas.len()).map(holding).collect();
    let drawn: Vec<u8> = laid_out.pieces(&vocabulary, &holdings).concat();
    let drawn: String = drawn.utf8_chunks().map(|chunk| chunk.valid()).collect();
    assert_eq!(drawn, read.text, "{kind}, {template}");
    read
}

#[test]
fn blanks_stand_between_words_in_a_continuation_and_around_holes() {
    let cases: [(&str, &str, &[&[&str]], &str); 12] = [
        ("metaspace", "the king[[2]]", &[&["▁saw", "▁a"]], "the king saw a"),
        ("metaspace", "the [[1]] saw a[[1]].", &[&["▁king"], &["▁bird"]], "the king saw a bird."),
        ("metaspace", "[[2]] saw", &[&["▁the", "▁king"]], "the king saw"),
        ("unigram", "the king[[2]]", &[&["s", "▁bird"]], "the kings bird"),
        ("unigram", "the [[2]]ly.", &[&["▁king", "▁"]], "the king ly."),
        ("wordpiece", "the king[[2]] a bird", &[&["s", "##ang"]], "the king sang a bird"),
        ("wordpiece", "the king[[2]]", &[&["##ly", "."]], "the kingly."),
        ("byte-fallback", "the[[2]]", &[&["▁", "king"]], "the king"),
        ("byte-fallback", "the [[4]] king", &[&["▁the", "<0xC3>", "<0xA9>", "<0x41>"]], "the theéA king"),
        ("suffix", "the[[2]] saw", &[&["ki", "ng</w>"]], "the king saw"),
        ("suffix", "the [[1]][[1]]", &[&["ki"], &["ng</w>"]], "the king"),
        ("byte-level", "the[[2]]", &[&["Ġ", "the"]], "the the"),
    ];
    for (kind, template, holes, expected) in cases {
        assert_eq!(filled(kind, template, holes).text, expected, "{kind}, {template}");
    }
}

#[test]
fn a_text_within_another_has_no_blank_that_is_not_given() {
    for (kind, text, expected) in [
        ("unigram", "ly", vec!["l", "y"]),
        ("unigram", " king", vec!["▁king"]),
        ("unigram", ".", vec!["."]),
        ("wordpiece", "ly", vec!["##ly"]),
        ("wordpiece", " king", vec!["king"]),
        ("byte-fallback", "king", vec!["king"]),
        ("byte-level", "the", vec!["the"]),
    ] {
        let vocabulary = vocabulary(kind);
        let encoded = vocabulary.encode_within(text).unwrap();
        let names: Vec<String> = encoded.tokens.iter().map(|&token| vocabulary.token_text(token)).collect();
        assert_eq!(names, expected, "{kind}, {text}");
        assert_eq!(encoded.text_bytes.iter().sum::<u32>() as usize, text.len(), "{kind}, {text}");
    }
    // At the beginning of a text the blank is there.
    let vocabulary = vocabulary("byte-fallback");
    let tokens = vocabulary.encode("king").unwrap();
    assert_eq!(vocabulary.token_text(tokens[0]), "▁");
}

#[test]
fn broken_bytes_are_left_out_and_counted() {
    let read = |template: &str, holes: &[&[&str]]| {
        let read = filled("byte-fallback", template, holes);
        (read.text, read.holes, read.broken_bytes)
    };
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    assert_eq!(read("the[[2]]", &[&["<0xC3>", "king"]]), ("theking".into(), strings(&["king"]), 1));
    assert_eq!(read("the[[3]]", &[&["<0xE2>", "<0x82>", "<0x41>"]]), ("theA".into(), strings(&["A"]), 2));
    assert_eq!(read("the[[2]]king", &[&["<0xE2>", "<0x82>"]]), ("theking".into(), strings(&[""]), 2));
    // A character over two holes belongs to the one that completes it.
    assert_eq!(read("the[[1]][[1]]", &[&["<0xC3>"], &["<0xA9>"]]), ("theé".into(), strings(&["", "é"]), 0));

    let bytes = filled("byte-level", "the[[1]][[2]]", &[&["Ã"], &["©", "Ã"]]);
    assert_eq!((bytes.text.as_str(), bytes.holes, bytes.broken_bytes), ("theé", strings(&["", "é"]), 1));
    let vocabulary = vocabulary("byte-level");
    let half = vocabulary.encode("é").unwrap()[0];
    assert_eq!((vocabulary.token_text(half), vocabulary.decode(&[half])), ("<0xC3>".to_owned(), String::new()));
}

#[test]
fn what_lies_behind_an_open_position_is_decoded_within_a_text() {
    for (kind, name, expected) in [
        ("metaspace", "▁king", " king"),
        ("unigram", "s", "s"),
        ("wordpiece", "king", " king"),
        ("suffix", "ki", " ki"),
    ] {
        let token = Tokenizer::from_bytes(bytes_of(kind)).unwrap().token_to_id(name).unwrap();
        let vocabulary = vocabulary(kind);
        assert_eq!(vocabulary.decode_after(Before::Unknown, &[token]), expected, "{kind}");
        assert_eq!(vocabulary.pieces(Before::Unknown, &[token, token])[0], expected.as_bytes(), "{kind}");
        assert_eq!(vocabulary.decode(&[token]), expected.trim_start(), "{kind}");
    }
}

#[test]
fn what_cannot_be_written_is_counted_and_has_its_bytes() {
    for (kind, text, characters) in [
        ("metaspace", "the zebra saw", 5),
        ("unigram", "the kïng ", 4),
        ("wordpiece", "the 狐 saw", 1),
        // The crate drops what a model without an unknown token does not know; this one has bytes for everything.
        ("byte-fallback", "the 狐", 0),
        ("suffix", "the qing", 1),
        ("byte-level", "the 狐", 0),
    ] {
        let encoded = vocabulary(kind).encode_text(text).unwrap();
        assert_eq!(encoded.unknown.characters, characters, "{kind}");
        assert_eq!(encoded.text_bytes.iter().sum::<u32>() as usize, text.len(), "{kind}");
    }
    let template = Template::parse("the zebra [[1]] 狐").unwrap();
    assert_eq!(template.lay_out(&vocabulary("metaspace")).unwrap().unknown().characters, 6);
}

#[test]
fn dropout_of_merges_is_off() {
    let vocabulary = vocabulary("byte-level");
    for _ in 0..20 {
        assert_eq!(vocabulary.encode("the").unwrap().len(), 1);
    }
    assert!(!String::from_utf8(vocabulary.to_json().unwrap()).unwrap().contains("0.5"));
}

/// Tokens of a kind: whole words and whole characters, so that nothing is broken.
fn runs() -> impl Strategy<Value = (&'static str, Vec<String>)> {
    let text = prop::sample::select([&WORDS[..], &[".", "'", "é", "狐", "ly"]].concat());
    (prop::sample::select(&KINDS[..]), prop::collection::vec(text.prop_map(str::to_owned), 0..12))
}

fn tokens_of(vocabulary: &Vocabulary, texts: &[String]) -> Vec<TokenId> {
    texts.iter().flat_map(|text| vocabulary.encode_within(text).unwrap().tokens).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whole_runs_are_read_as_the_tokenizers_crate_reads_them((kind, texts) in runs()) {
        let vocabulary = vocabulary(kind);
        let tokens = tokens_of(&vocabulary, &texts);
        prop_assume!(!tokens.iter().all(|&token| vocabulary.is_special(token)));
        let tokenizer = Tokenizer::from_bytes(bytes_of(kind)).unwrap();
        prop_assert_eq!(vocabulary.decode(&tokens), tokenizer.decode(&tokens, true).unwrap(), "{}", kind);
        prop_assert_eq!(vocabulary.broken_bytes(&tokens), 0);
    }

    #[test]
    fn a_run_in_parts_is_the_whole_run((kind, texts) in runs(), cut in 0usize..40) {
        let vocabulary = vocabulary(kind);
        let tokens = tokens_of(&vocabulary, &texts);
        let whole = vocabulary.decode(&tokens);
        let (before, after) = tokens.split_at(cut.min(tokens.len()));
        let parts = vocabulary.decode(before) + &vocabulary.decode_after(Before::Tokens(before), after);
        prop_assert_eq!(&parts, &whole, "{}", kind);
        let pieces = vocabulary.pieces(Before::Tokens(&[]), &tokens).concat();
        prop_assert_eq!(String::from_utf8(pieces).unwrap(), whole, "{}", kind);
    }

    #[test]
    fn a_lossless_tokenizer_gives_the_text_back(text in "(\\PC|[ \n]){0,24}") {
        prop_assume!(!text.contains('▁'));
        for kind in ["byte-fallback", "byte-level"] {
            let vocabulary = vocabulary(kind);
            let encoded = vocabulary.encode_text(&text).unwrap();
            prop_assert_eq!(&vocabulary.decode(&encoded.tokens), &text, "{}", kind);
            prop_assert!(encoded.unknown.is_empty(), "{}", kind);
            let bytes: u32 = encoded.text_bytes.iter().sum();
            prop_assert_eq!(bytes as usize, if encoded.tokens.is_empty() { 0 } else { text.len() }, "{}", kind);
        }
    }

    #[test]
    fn every_given_character_survives_whatever_is_written(
        kind in prop::sample::select(&KINDS[..]),
        parts in prop::collection::vec("(the|king|a| |\n|é|狐|x\\.){0,4}", 1..4),
        seed in any::<u64>(),
    ) {
        let vocabulary = vocabulary(kind);
        let laid_out = Template::parse(&parts.join("[[3]]")).unwrap().lay_out(&vocabulary).unwrap();
        let mut canvas = laid_out.canvas().clone();
        let mask = vocabulary.role(Role::Mask).unwrap();
        for (index, position) in laid_out.canvas().open_positions().into_iter().enumerate() {
            let token = 3 + (seed.rotate_left(11 * index as u32) % (vocabulary.len() as u64 - 3)) as TokenId;
            prop_assert_ne!(token, mask);
            canvas.commit(position, token).unwrap();
        }
        let CanvasText { text, holes, .. } = laid_out.read(&vocabulary, &canvas);
        let holes = holes.iter().map(String::as_str).chain([""]);
        let expected: Vec<&str> = parts.iter().zip(holes).flat_map(|(part, hole)| [part.as_str(), hole]).collect();
        prop_assert_eq!(&text, &expected.concat());
        prop_assert!(!text.contains('\u{FFFD}'), "{}: {:?}", kind, text);
    }
}
