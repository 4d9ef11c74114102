//! The template language: what is read, what is refused and how, and that every given character survives.

use aquatint_diffusion::{Canvas, Domain, Kind};
use aquatint_vocabulary::{
    CanvasPiece, Holding, Mask, Media, MediaKind, MediaSpan, MediaStretch, Piece, Role, Seconds, Template,
    TemplateCanvas, TemplateCanvasError, TemplateProblem, Vocabulary,
};
use proptest::prelude::*;
use std::sync::OnceLock;

const TALE: &str = include_str!("../../../../data/sample/train/grimm-clever-grethel.txt");

fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    VOCABULARY.get_or_init(|| Vocabulary::train(std::iter::once(TALE.to_owned()), 512).unwrap())
}

fn pieces(source: &str) -> Vec<Piece> {
    Template::parse(source).unwrap().pieces().to_vec()
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

fn open(count: usize, approximate: bool) -> Piece {
    Piece::Open { count, approximate }
}

#[test]
fn every_kind_of_hole_is_parsed() {
    assert_eq!(
        pieces("The [[3]] sat on the [[~8]]."),
        [text("The "), open(3, false), text(" sat on the "), open(8, true), text(".")]
    );
    let (made, given) = (|kind| Piece::Media(Media::open(kind)), |kind, file| Piece::Media(Media::given(kind, file)));
    assert_eq!(
        pieces("[[picture]][[ picture : a fox.png ]]"),
        [made(MediaKind::Picture), given(MediaKind::Picture, "a fox.png")]
    );
    assert_eq!(
        pieces("[[sound]] [[sound:C:/f.wav]]"),
        [made(MediaKind::Sound), text(" "), given(MediaKind::Sound, "C:/f.wav")]
    );
    let masks = |file, masks: &[&str]| {
        let masks = masks.iter().map(|mask| Mask::parse(mask).unwrap()).collect();
        Piece::Media(Media { masks, ..Media::given(MediaKind::Picture, file) })
    };
    assert_eq!(pieces("[[picture:fox.png,mask=2x2+4x4]]"), [masks("fox.png", &["2x2+4x4"])]);
    assert_eq!(
        pieces("[[picture: a,b.png , mask = 1x2+0x3,mask=8x8+0x0 ]]"),
        [masks("a,b.png", &["1x2+0x3", "8x8+0x0"])]
    );
    let long = |seconds| Piece::Media(Media::sound(Seconds::new(seconds)));
    assert_eq!(pieces("[[sound,seconds=1.5]][[ sound , seconds = 2 ]]"), [long(1.5), long(2.0)]);
    assert_eq!(pieces("[[sound,seconds=0.001]][[sound,seconds=3600.000]]"), [long(0.001), long(3600.0)]);
    let shown = ["1.5", "2", "0.001", "10.05", "3600"].map(|text| Seconds::parse(text).unwrap().to_string());
    assert_eq!(shown, ["1.5", "2", "0.001", "10.05", "3600"]);
    assert_eq!([0.0, -1.0, 3600.001, f64::NAN, f64::INFINITY, 0.0004].map(Seconds::new), [None; 6]);
    assert_eq!(Seconds::new(1.4996).unwrap().milliseconds(), 1500);
    assert_eq!(Mask::parse("1x2+0x3"), Some(Mask { width: 1, height: 2, column: 0, row: 3 }));
    assert_eq!(pieces(r"a\[[3]] b\c ]] [x] \\[[2]]"), [text(r"a[[3]] b\c ]] [x] \[[2]]")]);
    assert_eq!(pieces("[[1]][[2]]"), [open(1, false), open(2, false)]);
    assert_eq!(pieces(""), []);
    assert!(
        Template::parse("[[picture]]").unwrap().has_holes() && !Template::parse("[[picture:a]]").unwrap().has_holes()
    );
    assert!(Template::parse("[[picture:a,mask=1x1+0x0]]").unwrap().has_holes());
    assert_eq!(Template::text("[[3]]").continued(5, true).pieces(), [text("[[3]]"), open(5, true)]);
}

fn refused(source: &str) -> String {
    let error = Template::parse(source).unwrap_err();
    format!("{error}\n  hint: {}", error.hint().unwrap())
}

#[test]
fn errors_point_at_the_column() {
    assert_eq!(
        refused("The [[3]] sat on the [[8 ."),
        "`[[` opens a hole that is not closed (column 22 of the template)
  The [[3]] sat on the [[8 .
                       ^^
  hint: close it with `]]`, or write `\\[[` for the two characters themselves"
    );
    assert_eq!(
        refused("Ein Füchschen 狐 [[three]] hier"),
        "the hole is not understood (column 17 of the template)
  Ein Füchschen 狐 [[three]] hier
                   ^^^^^^^^^
  hint: a hole is `[[3]]`, `[[~8]]`, `[[picture]]`, `[[picture:fox.png]]`, `[[picture:fox.png,mask=2x2+4x4]]`, `[[sound]]`, \
         `[[sound,seconds=1.5]]` or `[[sound:owl.wav]]`; write `\\[[` for the two characters themselves"
    );
    assert_eq!(
        refused("One.\nTwo [[0]]"),
        "the number of tokens is 0; it must be between 1 and 1048576 (line 2, column 5 of the template)
  Two [[0]]
      ^^^^^
  hint: several holes can stand one behind the other"
    );
    assert_eq!(
        refused("[[]]"),
        "the hole is empty (column 1 of the template)
  [[]]
  ^^^^
  hint: say how many tokens: `[[3]]`, or `[[~8]]` for at most eight"
    );
    assert_eq!(
        refused("[[sound:]]"),
        "the sound has no file (column 1 of the template)
  [[sound:]]
  ^^^^^^^^^^
  hint: name a file, `[[sound:owl.wav]]`, or leave the `:` out to have a sound made"
    );
    assert_eq!(
        refused("a [[picture:a.png,mask=2x2]]"),
        "`mask` is 2x2; allowed: WIDTHxHEIGHT+COLUMNxROW, with sides of 1 or more (column 3 of the template)
  a [[picture:a.png,mask=2x2]]
    ^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: `[[picture:fox.png,mask=2x2+4x4]]` makes two columns and two rows anew, behind the first four columns and under \
         the first four rows of the codes of `fox.png`"
    );
    assert_eq!(
        refused("[[picture,mask=2x2+0x0]]"),
        "the picture has a mask; allowed: for a picture that a file gives (column 1 of the template)
  [[picture,mask=2x2+0x0]]
  ^^^^^^^^^^^^^^^^^^^^^^^^
  hint: name the picture, `[[picture:fox.png,mask=2x2+4x4]]`, or leave the mask out to have all of it made"
    );
    assert_eq!(
        refused("[[sound:owl.wav,mask=1x1+0x0]]").lines().next().unwrap(),
        "the sound has a mask; allowed: for a picture that a file gives (column 1 of the template)"
    );
    assert_eq!(
        refused("[[picture:fox.png,maks=2x2+4x4]]").lines().next().unwrap(),
        "`maks` is no option; allowed: mask (column 1 of the template)"
    );
    for given in
        ["0", "", "1,5", "1.", ".5", "1.0005", "-1", "1e3", "3600.001", "99999999999", "+1", "1s", "1,seconds=2"]
    {
        let message = refused(&format!("[[sound,seconds={given}]]"));
        let shown = given.rsplit_once('=').map_or(given, |(_, last)| last);
        let allowed = "allowed: once, 0.001 to 3600, with three decimals at most (column 1 of the template)";
        let expected = match given {
            "1,5" => "`5` is no option; allowed: seconds (column 1 of the template)".to_owned(),
            _ => format!("`seconds` is {shown}; {allowed}"),
        };
        assert_eq!(message.lines().next().unwrap(), expected, "{given}");
        assert!(message.ends_with("hint: `[[sound,seconds=1.5]]` is a second and a half long"), "{message}");
    }
    let first_line = |template: &str| refused(template).lines().next().unwrap().to_owned();
    assert_eq!(
        first_line("[[sound:owl.wav,seconds=2]]"),
        "the sound has `seconds` and a file; allowed: one of them (column 1 of the template)"
    );
    assert_eq!(first_line("[[picture,seconds=2]]"), "`seconds` is no option; allowed: mask (column 1 of the template)");
}

#[test]
fn long_lines_are_cut_around_the_error() {
    let long = format!("{}[[x]]{}", "a".repeat(100), "b".repeat(100));
    let error = Template::parse(&long).unwrap_err();
    assert_eq!((error.line, error.column), (1, 101));
    let message = error.to_string();
    let lines: Vec<&str> = message.lines().collect();
    assert_eq!(lines[1], format!("  …{}[[x]]{}…", "a".repeat(36), "b".repeat(35)));
    assert_eq!(lines[2], format!("  {}^^^^^", " ".repeat(37)));
}

#[test]
fn what_no_number_can_hold_is_refused() {
    for source in ["[[99999999999999999999999999]]", "[[1048577]]", "[[~0]]"] {
        assert!(matches!(Template::parse(source).unwrap_err().problem, TemplateProblem::Count { .. }), "{source}");
    }
    for source in ["[[-1]]", "[[+1]]", "[[1.5]]", "[[~]]", "[[pictures]]", "[[3 4]]", "[[٣]]"] {
        assert_eq!(Template::parse(source).unwrap_err().problem, TemplateProblem::Unknown, "{source}");
    }
    for mask in ["0x1+0x0", "1x0+0x0", "1x1", "1x1+1", "-1x1+0x0", "1x1+0x0+0x0", "x+x", "1x1+0x99999999999999999999"] {
        let problem = Template::parse(&format!("[[picture:a,mask={mask}]]")).unwrap_err().problem;
        assert_eq!(problem, TemplateProblem::Mask { given: mask.to_owned() });
    }
    for source in ["[[picture,]]", "[[picture,a.png]]", "[[picture a]]", "[[video:a]]"] {
        assert_eq!(Template::parse(source).unwrap_err().problem, TemplateProblem::Unknown, "{source}");
    }
    assert_eq!(Template::parse("[[3\n]]").unwrap_err().problem, TemplateProblem::Unclosed);
    let nested = Template::parse("a [[3 b [[4]]").unwrap_err();
    assert_eq!((nested.problem, nested.column), (TemplateProblem::Unclosed, 3));
}

fn lay_out(source: &str) -> TemplateCanvas {
    Template::parse(source).unwrap().lay_out(vocabulary()).unwrap()
}

/// Writes the tokens of `fillings` into the holes; what is longer than its hole is cut, what is shorter closed.
fn fill(laid_out: &TemplateCanvas, fillings: &[&str]) -> Canvas {
    let mut canvas = laid_out.canvas().clone();
    for (span, filling) in laid_out.canvas().spans().iter().zip(fillings) {
        let tokens = vocabulary().encode(filling).unwrap();
        for (offset, position) in span.positions.clone().enumerate() {
            match tokens.get(offset) {
                Some(&token) => canvas.commit(position, token).unwrap(),
                None => canvas.close(position).unwrap(),
            }
        }
    }
    canvas
}

#[test]
fn a_template_becomes_given_and_open_positions() {
    let laid_out = lay_out("The [[2]] said[[~4]]");
    let mask = vocabulary().role(Role::Mask).unwrap();
    let canvas = laid_out.canvas();
    let spans: Vec<_> = canvas.spans().iter().map(|span| (span.positions.len(), span.approximate)).collect();
    assert_eq!(spans, [(2, false), (4, true)]);
    let given: Vec<u32> = (0..canvas.len())
        .filter(|&position| canvas.kind(position) == Some(Kind::Given))
        .map(|position| canvas.tokens()[position])
        .collect();
    // The blank before the first hole is owed by it and is no token.
    assert_eq!(vocabulary().decode(&given), "The said");
    for span in canvas.spans() {
        assert!(canvas.tokens()[span.positions.clone()].iter().all(|&token| token == mask));
    }
    // It is drawn as soon as the first position is known.
    let cook = vocabulary().encode("cook").unwrap()[0];
    let known = |position: usize| match canvas.spans().iter().any(|span| span.positions.start == position) {
        true => Holding::Token(cook),
        false if canvas.is_open(position) => Holding::Open,
        false => Holding::Token(canvas.tokens()[position]),
    };
    let pieces = laid_out.pieces(vocabulary(), &(0..canvas.len()).map(known).collect::<Vec<_>>());
    let first = |span: usize| String::from_utf8(pieces[canvas.spans()[span].positions.start].clone()).unwrap();
    assert_eq!(first(0), format!(" {}", first(1)));
}

#[test]
fn a_blank_before_a_hole_is_there_once_whatever_the_tokens_begin_with() {
    let laid_out = lay_out("The [[3]] sat, [[2]].");
    for (first, second) in [(" cook", " and"), ("cook", "and"), (" cook", "and")] {
        let canvas = fill(&laid_out, &[first, second]);
        assert_eq!(laid_out.read(vocabulary(), &canvas).text, "The cook sat, and.");
        assert_eq!(laid_out.read(vocabulary(), &canvas).holes, ["cook", "and"]);
    }
    assert_eq!(laid_out.read(vocabulary(), laid_out.canvas()).text, "The  sat, .");
    assert_eq!(laid_out.read(vocabulary(), &fill(&laid_out, &["  x", ""])).text, "The  x sat, .");
}

#[test]
fn pictures_wait_for_models_that_know_them() {
    let error = Template::parse("A fox. [[picture]]").unwrap().lay_out(vocabulary()).unwrap_err();
    assert!(matches!(error, TemplateCanvasError::TextOnly { medium: MediaKind::Picture }));
    assert_eq!(
        (error.to_string().as_str(), error.hint().unwrap().as_str()),
        ("the template asks for a picture, and this model knows text only", "choose a model with picture codes")
    );
}

/// Pieces that can be typed.
fn piece() -> impl Strategy<Value = Piece> {
    // What stands before a hole ends in neither of the characters that would join its brackets.
    let text = "([a-z é狐\\n\\]\\\\]|\\[\\[){0,6}[a-z. ]";
    let file = || "[a-z/ ]{0,3}[a-z,.]{1,6}[a-z]";
    let mask = (1..9usize, 1..9usize, 0..9usize, 0..9usize);
    let mask = mask.prop_map(|(width, height, column, row)| Mask { width, height, column, row });
    let picture = (file(), prop::collection::vec(mask, 0..3))
        .prop_map(|(file, masks)| Piece::Media(Media { masks, ..Media::given(MediaKind::Picture, file.trim()) }));
    prop_oneof![
        text.prop_map(Piece::Text),
        (1..2000usize, any::<bool>()).prop_map(|(count, approximate)| Piece::Open { count, approximate }),
        prop::sample::select(MediaKind::ALL.to_vec()).prop_map(|kind| Piece::Media(Media::open(kind))),
        (1..4_000_000_u32).prop_map(|n| Piece::Media(Media::sound(Seconds::new(f64::from(n) / 1000.0)))),
        file().prop_map(|file| Piece::Media(Media::given(MediaKind::Sound, file.trim()))),
        picture,
    ]
}

#[test]
fn hostile_templates_are_refused_or_read_back() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/template");
    let mut refused = 0;
    for seed in std::fs::read_dir(seeds).unwrap() {
        let source = std::fs::read_to_string(seed.unwrap().path()).unwrap();
        match Template::parse(&source) {
            Ok(template) => assert_eq!(Template::parse(&template.to_string()), Ok(template)),
            Err(error) => {
                refused += 1;
                assert!(error.hint().is_some() && error.column <= source.chars().count(), "{error}");
            }
        }
    }
    assert_eq!(refused, 9);
}

#[test]
fn pictures_lie_between_their_marks_and_come_back_between_the_text() {
    let template = Template::parse("A fox. [[picture]] It [[1]][[picture:owl.png]]!").unwrap();
    let (open, close, domain) = (500, 501, Domain::grid(600..650, 2, 2));
    let of = |codes| MediaSpan { open, close, domain: domain.clone(), codes, original: None };
    let media = [of(vec![None; 4]), of(vec![Some(601), Some(602), None, Some(604)])];
    let laid_out = template.lay_out_with(vocabulary(), &media).unwrap();
    let mut canvas = laid_out.canvas().clone();
    assert_eq!(canvas.spans().iter().map(|span| span.domain.is_grid()).collect::<Vec<_>>(), [true, false, true]);
    let stretches: Vec<MediaStretch> = laid_out.media().cloned().collect();
    for stretch in &stretches {
        let (before, behind) = (stretch.positions.start - 1, stretch.positions.end);
        assert_eq!([canvas.tokens()[before], canvas.tokens()[behind]], [open, close]);
        assert!(stretch.is_made && stretch.kind == MediaKind::Picture && stretch.positions.len() == 4);
    }
    // Codes are no text, whatever is known of them.
    let hole = canvas.spans()[1].positions.start;
    canvas.commit(hole, vocabulary().encode(" x").unwrap()[0]).unwrap();
    canvas.commit(stretches[0].positions.start + 2, 640).unwrap();
    let read = laid_out.read(vocabulary(), &canvas);
    assert_eq!((read.text.clone(), read.holes.len()), (format!("A fox.  It {}!", read.holes[0]), 1));
    let codes = |stretch: &MediaStretch, codes: &[Option<u32>]| CanvasPiece::Media {
        stretch: stretch.clone(),
        codes: codes.to_vec(),
    };
    assert_eq!(
        read.pieces,
        [
            CanvasPiece::Text("A fox. ".to_owned()),
            codes(&stretches[0], &[None, None, Some(640), None]),
            CanvasPiece::Text(format!(" It {}", read.holes[0])),
            codes(&stretches[1], &[Some(601), Some(602), None, Some(604)]),
            CanvasPiece::Text("!".to_owned()),
        ]
    );
    let holdings: Vec<Holding> = canvas.tokens().iter().map(|token| Holding::Token(*token)).collect();
    let drawn = laid_out.pieces(vocabulary(), &holdings);
    assert!(stretches.iter().all(|stretch| drawn[stretch.positions.clone()].iter().all(Vec::is_empty)));

    // Nothing is said of the second picture; the first one has too few codes.
    let error = template.lay_out_with(vocabulary(), &media[..1]).unwrap_err();
    assert!(matches!(error, TemplateCanvasError::TextOnly { medium: MediaKind::Picture }));
    let error = template.lay_out_with(vocabulary(), &[of(vec![None; 3]), media[1].clone()]).unwrap_err();
    assert!(error.to_string().starts_with("a span of 2 rows of 2 has 3 positions"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_text_is_read_or_refused_at_a_place_that_exists(source in "(\\PC|[\n\r\t]|\\[\\[|\\]\\]|\\\\|picture|sound|:|,mask=|,seconds=|[1-9]x[1-9]|\\+|~|[0-9]){0,40}") {
        match Template::parse(&source) {
            Ok(template) => {
                prop_assert_eq!(&Template::parse(&template.to_string()).unwrap(), &template);
                for pair in template.pieces().windows(2) {
                    prop_assert!(!matches!(pair, [Piece::Text(_), Piece::Text(_)]));
                }
                prop_assert!(template.pieces().iter().all(|piece| *piece != Piece::Text(String::new())));
            }
            Err(error) => {
                prop_assert!(error.line >= 1 && error.line <= source.chars().filter(|c| "\n\r".contains(*c)).count() + 1);
                prop_assert!(error.column >= 1 && error.column <= source.chars().count());
                prop_assert_eq!(error.to_string().lines().count(), 3);
            }
        }
    }

    #[test]
    fn a_template_reads_back_as_it_is_shown(pieces in prop::collection::vec(piece(), 0..8)) {
        let mut shown = Template::default();
        for piece in pieces {
            shown = match piece {
                Piece::Text(text) => shown.followed_by(text),
                Piece::Open { count, approximate } => shown.continued(count, approximate),
                Piece::Media(media) => shown.with_media(media),
                piece => panic!("no test for {piece:?}"),
            };
        }
        prop_assert_eq!(Template::parse(&shown.to_string()).unwrap(), shown);
    }

    #[test]
    fn text_is_text_when_its_brackets_are_escaped(source in "(\\PC|[ \n\r]|\\[){0,30}") {
        // A backslash right before `[[` is itself the escape, so it cannot be written before a literal `[[`.
        prop_assume!(!source.contains("\\[["));
        let escaped = source.replace("[[", "\\[[");
        prop_assert_eq!(Template::parse(&escaped).unwrap(), Template::text(source));
    }

    #[test]
    fn every_given_character_survives(
        parts in prop::collection::vec("([a-z .]|é|狐|\u{301}|\n){0,8}", 1..5),
        fillings in prop::collection::vec("( ?[a-z]{0,4}|é|\u{301}){0,2}", 5),
    ) {
        let laid_out = lay_out(&parts.join("[[9]]"));
        let fillings: Vec<&str> = fillings.iter().map(String::as_str).collect();
        let canvas = fill(&laid_out, &fillings);
        let filled = laid_out.read(vocabulary(), &canvas).holes;
        let expected: Vec<&str> = parts.iter().zip(filled.iter().map(String::as_str).chain([""])).flat_map(|(a, b)| [a.as_str(), b]).collect();
        prop_assert_eq!(laid_out.read(vocabulary(), &canvas).text, expected.concat());
        // Where the whole hole was filled, its text is what was written, but for the one blank that was given already.
        for ((part, filling), filled) in parts.iter().zip(&fillings).zip(&filled) {
            if vocabulary().encode(filling).unwrap().len() <= 9 {
                let owed = part.ends_with(' ');
                let expected = filling.strip_prefix(' ').filter(|_| owed).unwrap_or(filling);
                prop_assert_eq!(filled, expected);
            }
        }
    }
}

/// The begin token is a position more, given, and nobody reads it.
#[test]
fn a_begin_token_stands_in_front_of_every_template_and_in_no_text() {
    let mut beginning = vocabulary().clone();
    beginning.set_adds_begin(true).unwrap();
    let begin = beginning.role(Role::Begin).unwrap();
    for source in ["[[~3]]", "The [[2]] sat.", "A fox", "[[1]] fox [[2]]", ""] {
        let template = Template::parse(source).unwrap();
        let (without, with) = (template.lay_out(vocabulary()).unwrap(), template.lay_out(&beginning).unwrap());
        assert_eq!(with.canvas().tokens(), [&[begin][..], without.canvas().tokens()].concat(), "{source}");
        assert_eq!(with.canvas().kind(0), Some(Kind::Given));
        let kinds = |canvas: &Canvas, from| (from..canvas.len()).map(|p| canvas.kind(p)).collect::<Vec<_>>();
        assert_eq!(kinds(with.canvas(), 1), kinds(without.canvas(), 0));
        let moved: Vec<_> = without.holes().map(|(hole, owes)| (hole.start + 1..hole.end + 1, owes)).collect();
        assert_eq!(with.holes().collect::<Vec<_>>(), moved);

        let word = beginning.encode(" cat").unwrap()[0];
        let fill = |laid: &TemplateCanvas| {
            let mut canvas = laid.canvas().clone();
            canvas.open_positions().to_vec().into_iter().for_each(|position| canvas.commit(position, word).unwrap());
            canvas
        };
        let (filled, filled_without) = (fill(&with), fill(&without));
        assert_eq!(with.read(&beginning, &filled), without.read(vocabulary(), &filled_without), "{source}");
        // A canvas of the same tokens says the same, but for the blank that only a template owes.
        let of_canvas = TemplateCanvas::of_canvas(with.canvas().clone(), &beginning).read(&beginning, &filled).text;
        assert_eq!(of_canvas.replace(' ', ""), with.read(&beginning, &filled).text.replace(' ', ""), "{source}");
        let bytes = |laid: &TemplateCanvas, canvas: &Canvas| {
            let holdings: Vec<Holding> = canvas.tokens().iter().map(|token| Holding::Token(*token)).collect();
            String::from_utf8(laid.pieces(&beginning, &holdings).concat()).unwrap()
        };
        assert_eq!(bytes(&with, &filled), with.read(&beginning, &filled).text, "{source}");
    }
}
