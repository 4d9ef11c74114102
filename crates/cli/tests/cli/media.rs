//! Pictures and sounds beside text: made, given, painted anew in part, saved and refused.

use crate::support::{aquatint, model, piped, room, text};
use aquatint::codec::{Picture, Sound};
use aquatint_testing_codecs::save_model;
use aquatint_vocabulary::MediaKind;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A small model with codecs beside its tokens: of pictures, 9 codes in 4 rows of 4, and of sounds, 9 codes in a line, 40 to
/// the second.
pub(crate) fn joint() -> &'static str {
    static MODEL: OnceLock<String> = OnceLock::new();
    MODEL.get_or_init(|| text(&save_model(&room("joint"), &MediaKind::ALL)).to_owned())
}

/// A picture of one colour in a file of a test's own room.
fn red(name: &str) -> PathBuf {
    let path = room(name).join("red.png");
    Picture::new(8, 8, vec![[220, 30, 30, 255]; 64]).unwrap().save(&path).unwrap();
    path
}

fn generate(arguments: &[&str]) -> crate::support::ProgramOutput {
    aquatint(&[&["generate", "-m", joint(), "--seed", "7"], arguments].concat())
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&generate(&[arguments, &["--format", "json"]].concat()).expect(0).out).unwrap()
}

#[test]
fn a_picture_is_made_beside_a_text_and_saved_in_a_file() {
    let file = room("made").join("fox.png");
    let output = generate(&["The fox [[4]]. [[picture]]", "--picture-out", text(&file)]).expect(0);
    let (start, end) = ("The fox ", format!(". [picture: {}]\n", file.display()));
    assert!(output.out.starts_with(start) && output.out.ends_with(&end), "{:?}", output.out);
    assert!(output.err.contains(&format!("wrote {}\n", file.display())), "{}", output.err);
    // 4 tokens and 16 codes.
    assert!(output.err.lines().last().unwrap().starts_with("20 tokens, "), "{}", output.err);
    let picture = Picture::open(&file).unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 8));

    let object = json(&["The fox [[4]]. [[picture]]"]);
    let pieces = object["pieces"].as_array().unwrap();
    assert_eq!(pieces.iter().map(|piece| piece["type"].as_str().unwrap()).collect::<Vec<_>>(), ["text", "picture"]);
    assert_eq!(object["text"], pieces[0]["text"]);
    assert_eq!(pieces[1]["made"], true);
    // The address holds the file.
    let url = pieces[1]["url"].as_str().unwrap();
    let bytes = base64(url.strip_prefix("data:image/png;base64,").unwrap());
    assert_eq!(bytes, fs::read(&file).unwrap());
    assert_eq!(
        (&object["settings"]["counting"], &object["media_settings"]["counting"]),
        (&Value::Null, &"cosine".into())
    );
    // A text alone says nothing of pictures.
    let plain = json(&["The fox [[4]]."]);
    assert!(plain.get("pieces").is_none() && plain.get("media_settings").is_none());
    assert!(generate(&["[[picture]]"]).expect(0).err.contains("--picture-out FILE.png keeps it"));
}

#[test]
fn events_say_which_part_they_are_of() {
    let output = generate(&["The fox [[4]]. [[picture]]", "--format", "jsonl", "--steps", "2"]).expect(0).out;
    let events: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |part: u64| {
        let named = |event: &&Value| event["event"] == "step" && event["part"].as_u64().unwrap_or(0) == part;
        events.iter().filter(named).map(|event| event["changes"].as_array().unwrap().len()).sum::<usize>()
    };
    assert_eq!([of(0), of(1)], [4, 16]);
    // A text alone has one part, of which nothing is said.
    let plain = generate(&["The fox [[4]].", "--format", "jsonl", "--steps", "2"]).expect(0).out;
    assert!(!plain.contains("\"part\""), "{plain}");
}

#[test]
fn a_model_says_which_codecs_it_has() {
    let shown = aquatint(&["show", joint()]).expect(0).out;
    let expected = "\ncodecs      picture (9 codes, 4 rows of 4), sound (9 codes in a line)\n";
    assert!(shown.contains(expected), "{shown}");
    assert!(!aquatint(&["show", model()]).expect(0).out.contains("codecs"));
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let bits = text.trim_end_matches('=').bytes().map(value);
    let (mut bytes, mut held, mut count) = (Vec::new(), 0_u32, 0);
    for value in bits {
        (held, count) = (held << 6 | u32::from(value), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((held >> count) as u8);
        }
    }
    bytes
}

#[test]
fn several_pictures_are_numbered_and_settings_of_pictures_are_their_own() {
    let file = room("several").join("fox.png");
    let object = json(&[&format!("[[picture:{}]]", red("several").display()), "-n", "2"]);
    assert_eq!(object["pieces"][0]["made"], false);
    let template = "[[picture]]";
    let arguments = [template, "--media-steps", "3", "--media-guidance-scale", "1", "--picture-out", text(&file)];
    let output = generate(&[&arguments[..], &["--format", "json"]].concat()).expect(0);
    let object: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!((&object["forward_passes"], &object["media_settings"]["steps"]), (&3.into(), &3.into()));
    assert_eq!(json(&[template, "--steps", "5"])["forward_passes"], 10);
    assert!(file.is_file());
    let unused = generate(&["The [[2]] fox", "--media-steps", "3"]).expect(0).err;
    assert!(unused.contains("`--media-steps` has no effect: no picture and no sound is to be made"), "{unused}");
    let unused = generate(&["[[picture]]", "--block-length", "3", "--regex", "a"]).expect(0).err;
    for flag in ["block-length", "regex"] {
        assert!(unused.contains(&format!("`--{flag}` has no effect: no text is to be written")), "{unused}");
    }
    // Each of several canvases has its own.
    let many = room("many").join("fox.png");
    let output = generate(&[template, "--count", "2", "--picture-out", text(&many)]).expect(0);
    for number in [1, 2] {
        let seed = (6 + number).to_string();
        let alone = room("alone").join("fox.png");
        let arguments = ["generate", "-m", joint(), template, "--seed", &seed, "--picture-out", text(&alone)];
        aquatint(&arguments).expect(0);
        let own = many.with_file_name(format!("fox-{number}.png"));
        assert!(output.err.contains(&format!("wrote {}\n", own.display())), "{}", output.err);
        assert_eq!(fs::read(own).unwrap(), fs::read(alone).unwrap(), "{number}");
    }
    // Numbers of files that do not fit are refused.
    let most = u64::MAX.to_string();
    let two = ["[[picture]][[picture]]", "--seed", "0", "--count", &most, "--picture-out", text(&many)];
    let arguments = [&["generate", "-m", joint()][..], &two].concat();
    let refused = aquatint(&arguments).expect(2).err;
    assert!(refused.contains(&format!("fewer than 2^64 files, not 2 for each of {most} canvases")), "{refused}");
    // The seed is that of the whole canvas.
    assert_eq!(json(&[template])["pieces"], json(&[template])["pieces"]);
}

#[test]
fn a_given_picture_is_continued_by_text_and_a_masked_one_is_painted_anew() {
    let red = red("given-media");
    let given = format!("[[picture:{}]] The [[~4]]", red.display());
    let output = generate(&[&given]).expect(0);
    assert!(output.out.starts_with("[picture] The "), "{:?}", output.out);
    assert!(!output.err.contains("keeps it"), "{}", output.err);
    let masked = format!("[[picture:{},mask=2x1+1x0,mask=1x1+0x3]]", red.display());
    let object = json(&[&masked]);
    assert_eq!((&object["tokens"], &object["pieces"][0]["made"]), (&3.into(), &true.into()));
    // A text behind a picture alone is a continuation.
    let object = json(&[&format!("[[picture:{}]]", red.display()), "-n", "3"]);
    assert_eq!(object["filled"].as_array().unwrap().len(), 1);
    let run = piped(&["run", joint(), "--seed", "7"], format!("{given}\n").as_bytes()).expect(0);
    assert_eq!(run.out, output.out);
}

#[test]
fn a_sound_is_made_and_one_that_is_given_is_read() {
    let file = room("sounds-out").join("fox.wav");
    let output = generate(&["fox [[sound]]", "--sound-out", text(&file)]).expect(0);
    assert_eq!(output.out, format!("fox [sound: {}]\n", file.display()));
    assert!(output.err.lines().last().unwrap().starts_with("32 tokens, "), "{}", output.err);
    let sound = Sound::open(&file).unwrap();
    assert_eq!((sound.rate(), sound.samples().len()), (8000, 32 * 200));
    let object = json(&["fox [[sound]]"]);
    assert_eq!((&object["text"], &object["pieces"][1]["type"]), (&"fox ".into(), &"sound".into()));
    let url = object["pieces"][1]["url"].as_str().unwrap();
    assert_eq!(base64(url.strip_prefix("data:audio/wav;base64,").unwrap()), fs::read(&file).unwrap());
    let noted = generate(&["fox [[sound]]"]).expect(0).err;
    assert!(
        noted.contains("a sound was made that this output does not show; --sound-out FILE.wav keeps it"),
        "{noted}"
    );

    // How long it is may be said.
    let long = room("sounds-long").join("fox.wav");
    generate(&["fox [[sound,seconds=0.3]]", "--sound-out", text(&long)]).expect(0);
    assert_eq!(Sound::open(&long).unwrap().samples().len(), 12 * 200);
    for (template, expected) in [
        ("[[sound,seconds=0]]", "`seconds` is 0; allowed: once, 0.001 to 3600, with three decimals at most (column 1"),
        ("[[sound,seconds=1700]]", "`seconds` is 1700, which are 68000 codes; allowed: at most 65536 codes\n"),
        ("[[sound,seconds=60]]", "the canvas has 2402 positions, 2 of them given; the model reads at most 128\n"),
    ] {
        let refused = generate(&[template]).expect(2).err;
        assert!(refused.starts_with(&format!("error: {expected}")), "{refused}");
    }

    // Half a second, as a question whose answer is text.
    let word = room("sounds-in").join("word.wav");
    let samples = (0..4000).map(|index| (index as f32 * 0.3).sin() * 0.5).collect();
    Sound::new(8000, samples).unwrap().save(&word).unwrap();
    let object = json(&[&format!("\"[[~3]]\" [[sound:{}]] [[picture]]", word.display())]);
    assert_eq!((&object["pieces"][1]["made"], &object["pieces"][3]["made"]), (&false.into(), &true.into()));
    assert!(object["text"].as_str().unwrap().starts_with('"'));
}

#[test]
fn what_cannot_stand_on_the_canvas_is_refused_in_one_line_and_nothing_is_written() {
    let (media, red) = (room("refused-media"), red("refused-media"));
    let out = media.join("out.png");
    let put = |name: &str, bytes: &[u8]| {
        let path = media.join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let broken = put("broken.png", &fs::read(&red).unwrap()[..60]);
    let song = put("song.png", b"OggS no picture");
    // The header of a PNG file that says how large it is.
    let mut header = fs::read(&red).unwrap();
    header[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let checksum = crc(&header[12..29]);
    header[29..33].copy_from_slice(&checksum.to_be_bytes());
    let huge = put("huge.png", &header);
    let missing = media.join("missing.png").display().to_string();
    let of = |file: &str| format!("[[picture:{file}]] [[2]]");
    let outside = format!("[[picture:{},mask=2x2+3x0]]", red.display());
    let cases = [
        (of(&missing), format!("could not read `{missing}`")),
        (of(&broken), format!("`{broken}` is a damaged picture")),
        (of(&song), format!("`{song}` is not a picture of a known format; allowed: PNG, JPEG, WebP")),
        (of(&huge), format!("`{huge}` has 30000×30000 pixels; allowed: 40000000 in all")),
        (outside, "`mask` is 2x2+3x0; allowed: a part of the 4 columns and 4 rows of codes of".to_owned()),
        (format!("[[sound:{song}]]"), format!("`{song}` is not a sound of a known format; allowed: WAV, FLAC")),
        ("[[video]]".to_owned(), "the hole is not understood (column 1 of the template)".to_owned()),
        (
            "[[2]] fox".to_owned(),
            format!("`--picture-out` is {}; allowed: with a picture that is to be made", out.display()),
        ),
    ];
    for (template, expected) in cases {
        let output = generate(&[&template, "--picture-out", text(&out)]).expect(2);
        assert!(output.err.starts_with(&format!("error: {expected}")), "{template}: {}", output.err);
        assert_eq!(output.out, "");
    }
    let jpeg = generate(&["[[picture]]", "--picture-out", "fox.jpg"]).expect(2).err;
    assert!(jpeg.starts_with("error: `--picture-out` is fox.jpg; allowed: a file whose name ends in .png"), "{jpeg}");
    let nowhere = generate(&["[[picture]]", "--picture-out", "no/such/fox.png"]).expect(2).err;
    assert!(nowhere.starts_with("error: could not write `no/such/fox.png`"), "{nowhere}");
    let plain = aquatint(&["generate", "-m", model(), "A fox. [[picture]]"]).expect(2).err;
    assert!(
        plain.starts_with("error: the template has a picture, and this model has no pictures; allowed: text\n"),
        "{plain}"
    );
    let silent = aquatint(&["generate", "-m", model(), "fox [[sound]]"]).expect(2).err;
    let expected = "error: the template has a sound, and this model has no sounds; allowed: text\n";
    assert!(silent.starts_with(expected), "{silent}");
    let mut left: Vec<_> = fs::read_dir(&media).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["broken.png", "huge.png", "red.png", "song.png"]);
}

/// The checksum of a chunk of a PNG file (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
