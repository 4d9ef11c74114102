//! Text and pictures on one canvas: each is written in its own tokens, by settings of its own.

use aquatint::checkpoint::Checkpoint;
use aquatint::codec::Picture;
use aquatint::compute::Cpu;
use aquatint::diffusion::TokenId;
use aquatint::vocabulary::MediaKind;
use aquatint::{
    DenoisingEvent, Error, MediaError, MediaFiles, MediaOptions, Model, OutputPiece, SamplingOptions, Template,
};
use aquatint_testing_codecs::save_model;
use std::ops::ControlFlow;
use std::path::Path;

fn model(room: &Path) -> Model {
    Model::open(save_model(room, &[MediaKind::Picture]).to_str().unwrap()).unwrap()
}

fn red() -> Vec<u8> {
    Picture::new(8, 8, vec![[220, 30, 30, 255]; 64]).unwrap().to_png().unwrap()
}

fn options(seed: u64) -> SamplingOptions {
    let media = MediaOptions { steps: Some(5), ..MediaOptions::default() };
    SamplingOptions { seed: Some(seed), steps: Some(3), media, ..SamplingOptions::default() }
}

#[test]
fn text_holds_no_codes_and_pictures_hold_nothing_else() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path());
    assert_eq!(model.media_kinds(), [MediaKind::Picture]);
    let tokens = model.checkpoint().vocabulary.len() as TokenId;
    for seed in 0..8 {
        let prepared = model.prepare("A fox [[6]] [[picture]] snow [[~6]]", &options(seed)).unwrap();
        assert_eq!(prepared.parts.iter().map(|part| part.settings.steps()).collect::<Vec<_>>(), [3, 5]);
        let mut steps = [0; 2];
        let outcome = model.watch_prepared(&prepared, &mut |event| {
            if let DenoisingEvent::Step { part, .. } = event {
                steps[part] += 1;
            }
            ControlFlow::Continue(())
        });
        let outcome = outcome.unwrap();
        assert!(steps[0] <= 3 && steps[1] == 5, "{steps:?}");
        for position in outcome.canvas.committed_positions() {
            let is_code = prepared.template_canvas.media().any(|media| media.positions.contains(&position));
            let token = outcome.canvas.tokens()[position];
            assert_eq!(is_code, (tokens + 2..tokens + 11).contains(&token), "{token} at {position}");
        }
        let pieces = model.output(&prepared.template_canvas, &outcome.canvas).unwrap();
        let [OutputPiece::Text(before), OutputPiece::Media { file, is_made: true }, OutputPiece::Text(behind)] =
            &pieces[..]
        else {
            panic!("{pieces:?}");
        };
        assert!(before.starts_with("A fox ") && behind.starts_with(" snow "));
        assert_eq!(format!("{before}{behind}"), model.text(&prepared.template_canvas, &outcome));
        let picture = Picture::decode("it", &file.bytes).unwrap();
        assert_eq!((picture.width(), picture.height(), file.media_type), (8, 8, "image/png"));
        assert!(file.data_url().starts_with("data:image/png;base64,iVBORw0KGgo"));
    }
}

#[test]
fn a_given_picture_stays_but_for_its_masks() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path());
    let files = MediaFiles::from([("red.png".to_owned(), red())]);
    let prepare =
        |template: &str| model.prepare_media(Template::parse(template).unwrap(), &files, &options(1)).unwrap();
    let given = prepare("[[picture:red.png]] fox [[2]]");
    let whole = given.template_canvas.media().next().unwrap().clone();
    assert!(!whole.is_made && given.parts.len() == 1);
    let codes = given.template_canvas.canvas().tokens()[whole.positions.clone()].to_vec();
    let masked = prepare("[[picture:red.png,mask=2x1+1x0,mask=1x3+3x1]]");
    let open: Vec<usize> = masked.template_canvas.canvas().open_positions();
    assert_eq!(open.iter().map(|position| position - 1).collect::<Vec<_>>(), [1, 2, 7, 11, 15]);
    let outcome = model.watch_prepared(&masked, &mut |_| ControlFlow::Continue(())).unwrap();
    for (place, code) in codes.iter().enumerate().filter(|(place, _)| !open.contains(&(place + 1))) {
        assert_eq!(outcome.canvas.tokens()[place + 1], *code);
    }
    // What comes out of a given picture is what the codec makes of it.
    let pieces = model.output(&given.template_canvas, given.template_canvas.canvas()).unwrap();
    let known: Vec<Option<TokenId>> = codes.iter().copied().map(Some).collect();
    let file = model.media_file(MediaKind::Picture, &known, None).unwrap();
    assert_eq!(pieces[0], OutputPiece::Media { file, is_made: false });
    // Of a picture with masks, what is not made anew has the pixels of the file, and what is made those of its codes.
    let wide = Picture::new(32, 16, (0..512).map(|index| [(index % 251) as u8, 90, 30, 255]).collect()).unwrap();
    let files = MediaFiles::from([("wide.png".to_owned(), wide.to_png().unwrap())]);
    let template = Template::parse("[[picture:wide.png,mask=2x2+1x1]]").unwrap();
    let masked = model.prepare_media(template, &files, &options(1)).unwrap();
    let outcome = model.watch_prepared(&masked, &mut |_| ControlFlow::Continue(())).unwrap();
    let pieces = model.output(&masked.template_canvas, &outcome.canvas).unwrap();
    let [OutputPiece::Media { file, is_made: true }] = &pieces[..] else { panic!("{pieces:?}") };
    let codes: Vec<Option<TokenId>> = outcome.canvas.tokens()[1..17].iter().copied().map(Some).collect();
    let decoded = model.media_file(MediaKind::Picture, &codes, None).unwrap();
    let [shown, decoded] = [file, &decoded].map(|file| Picture::decode("it", &file.bytes).unwrap());
    let (given, inside) =
        (wide.fitted(8), |index: usize| (2..6).contains(&(index / 8)) && (2..6).contains(&(index % 8)));
    for (index, pixel) in shown.pixels().iter().enumerate() {
        let expected = if inside(index) { &decoded } else { &given };
        assert_eq!(*pixel, expected.pixels()[index], "{index}");
    }
    assert_ne!(decoded, given);
    // The codes are those of the file as it came.
    let whole =
        model.prepare_media(Template::parse("[[picture:wide.png]] [[1]]").unwrap(), &files, &options(1)).unwrap();
    let (whole, masked) = (whole.template_canvas.canvas().tokens(), masked.template_canvas.canvas());
    assert!((1..17).filter(|at| !masked.is_open(*at)).all(|at| masked.tokens()[at] == whole[at]));
    // Of a picture without any code there is one of nothing.
    assert!(model.media_file(MediaKind::Picture, &[None; 16], None).is_ok());
    assert!(model.media_file(MediaKind::Picture, &[None; 3], None).is_err());
}

#[test]
fn what_cannot_stand_there_is_refused_and_no_file_is_opened() {
    let room = tempfile::tempdir().unwrap();
    let model = model(room.path());
    std::fs::write(room.path().join("red.png"), red()).unwrap();
    let file = room.path().join("red.png").display().to_string();
    let refused = |template: &str, files: &MediaFiles| {
        let error = model.prepare_media(Template::parse(template).unwrap(), files, &options(1)).unwrap_err();
        assert!(matches!(error, Error::Media(_)), "{error:?}");
        error.to_string()
    };
    let (none, files) = (MediaFiles::new(), MediaFiles::from([("red.png".to_owned(), red())]));
    assert_eq!(
        refused(&format!("[[picture:{file}]]"), &none),
        format!("the picture `{file}` did not come with the template; allowed: no file, since none came")
    );
    assert_eq!(
        refused("[[sound]]", &none),
        "the template has a sound, and this model has no sounds; allowed: text, pictures"
    );
    for mask in ["5x1+0x0", "1x1+4x0", "1x2+0x3", "18446744073709551615x1+1x0"] {
        let expected = format!("`mask` is {mask}; allowed: a part of the 4 columns and 4 rows of codes of `red.png`");
        assert_eq!(refused(&format!("[[picture:red.png,mask={mask}]]"), &files), expected);
    }
    let broken = MediaFiles::from([("red.png".to_owned(), red()[..40].to_vec())]);
    assert!(refused("[[picture:red.png]]", &broken).starts_with("`red.png` is a damaged picture"));
    // A codec that is not there is an error of opening.
    std::fs::remove_dir_all(room.path().join("model/picture")).unwrap();
    let folder = room.path().join("model");
    let network = Checkpoint::load(&folder).unwrap().network(Cpu::<f32>::scalar()).unwrap();
    let error = Model::new(Checkpoint::load(&folder).unwrap(), Box::new(network)).unwrap_err();
    assert!(matches!(error, Error::Media(MediaError::Codec(_))), "{error:?}");
}
