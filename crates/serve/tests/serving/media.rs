//! Pictures and sounds: what a model has of them, what is made of a text, and what is refused.

use crate::support::{Running, joint, speaking, tone};
use aquatint::codec::{Picture, Sound};
use aquatint_serve::{AdapterChoice, ModelSource};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// A server with a model of text and pictures, and one of text behind it.
pub(crate) fn running() -> Running {
    Running::with(|settings| {
        settings
            .models
            .insert(0, ModelSource { name: "joint".to_owned(), path: joint(), adapter: AdapterChoice::First });
    })
}

fn base64(text: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap()
}

#[test]
fn a_model_says_what_it_has_beside_text() {
    let running = running();
    let pictures = json!([{ "kind": "picture", "width": 8, "height": 8 }]);
    assert_eq!(running.get("/v1/models/joint").expect(200)["meta"]["media"], pictures);
    assert_eq!(running.get("/props").expect(200)["models"][0]["media"], pictures);
    let shown = running.post("/api/show", &json!({ "model": "joint" })).expect(200);
    assert_eq!(shown["capabilities"], json!(["completion", "insert", "vision"]));
    running.post("/v1/completions", &json!({ "model": "tales", "max_tokens": 1 })).expect(200);
    assert_eq!(running.get("/v1/models/tales").expect(200)["meta"]["media"], json!([]));
}

#[test]
fn what_a_model_has_not_is_refused_by_its_name() {
    let running = running();
    for (path, body, param, expected) in [
        (
            "/v1/images/generations",
            json!({ "model": "tales", "prompt": "A fox" }),
            "model",
            "the model `tales` has no pictures; allowed: text;",
        ),
        (
            "/v1/audio/speech",
            json!({ "input": "fox", "voice": "default" }),
            "model",
            "the model `joint` has no sounds; allowed: text, pictures;",
        ),
        (
            "/v1/canvas",
            json!({ "model": "tales", "template": "A fox [[picture]]" }),
            "template",
            "the model `tales` has no pictures; allowed: text;",
        ),
    ] {
        let error = running.post(path, &body).expect(400)["error"].clone();
        assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!("invalid_value")), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(expected) && message.contains("/v1/models"), "{message}");
    }
}

#[test]
fn pictures_are_made_of_a_text_and_a_seed_makes_the_same() {
    let running = running();
    let body = json!({
        "prompt": "A fox [[4]]", "n": 3, "size": "8x8", "response_format": "b64_json", "output_format": "png",
        "seed": 7, "steps": 5, "user": "me",
    });
    let answer = running.post("/v1/images/generations", &body).expect(200);
    let data = answer["data"].as_array().unwrap();
    assert_eq!((data.len(), &answer["size"], &answer["seed"]), (3, &json!("8x8"), &json!(7)));
    // 16 codes of each, by 5 steps that are read twice for guidance.
    assert_eq!(answer["usage"]["completion_tokens"], 48);
    assert_eq!((&answer["usage"]["steps"], &answer["usage"]["forward_passes"]), (&json!(15), &json!(30)));
    assert!(answer.get("warnings").is_none(), "{answer}");
    for image in data {
        let picture = Picture::decode("it", &base64(&image["b64_json"])).unwrap();
        assert_eq!((picture.width(), picture.height()), (8, 8));
    }
    assert_ne!(data[0], data[1]);
    // Each is the picture of its own seed.
    let second = json!({ "prompt": "A fox [[4]]", "seed": 8, "media_steps": 5, "steps": 3, "size": "auto" });
    assert_eq!(running.post("/v1/images/generations", &second).expect(200)["data"][0], data[1]);
    // What is for text alone changes nothing, and is named.
    let text = json!({ "prompt": "A fox [[4]]", "seed": 8, "steps": 5, "block_length": 4, "media_temperature": 1.0 });
    let answer = running.post("/v1/images/generations", &text).expect(200);
    assert_eq!(answer["data"][0], data[1]);
    let warnings = answer["warnings"].as_array().unwrap();
    assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().starts_with("`block_length`"), "{answer}");
}

#[test]
fn words_are_spoken_and_sounds_are_heard() {
    let running = Running::with(|settings| {
        settings
            .models
            .insert(0, ModelSource { name: "speaking".to_owned(), path: speaking(), adapter: AdapterChoice::First });
    });
    assert_eq!(running.get("/v1/models/speaking").expect(200)["meta"]["media"][0]["kind"], "sound");
    let speech = |seed: u64| {
        let body = json!({ "input": "A fox", "voice": "default", "seed": seed, "media_steps": 4 });
        let answer = running.post("/v1/audio/speech", &body);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("audio/wav")), "{:?}", answer.body);
        answer.body
    };
    let (one, other) = (speech(7), speech(8));
    // 32 codes, 40 to the second.
    let sound = Sound::decode("answer", &one).unwrap();
    assert_eq!((sound.rate(), sound.samples().len()), (8000, 6400));
    assert!(one == speech(7) && one != other);
    // A length is rounded up to whole codes.
    let long = json!({ "input": "fox", "voice": "default", "seed": 7, "seconds": 0.51, "media_steps": 4 });
    let sound = Sound::decode("answer", &running.post("/v1/audio/speech", &long).body).unwrap();
    assert_eq!(sound.samples().len(), 21 * 200);
    for (seconds, param, expected) in [
        (json!(0), "seconds", "`seconds` is 0; allowed: 0.001 to 3600"),
        (json!(3601), "seconds", "`seconds` is 3601; allowed: 0.001 to 3600"),
        (json!(3600), "seconds", "`seconds` is 3600, which are 144000 codes; allowed: at most 65536 codes"),
        (json!(10), "input", "the canvas has"),
    ] {
        let body = json!({ "input": "fox", "voice": "default", "seconds": seconds });
        let error = running.post("/v1/audio/speech", &body).expect(400)["error"].clone();
        assert_eq!(error["param"], param, "{error}");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }

    let heard = |file: &[u8]| {
        let audio = json!({ "data": BASE64_STANDARD.encode(file), "format": "wav" });
        let content = json!([{ "type": "text", "text": "A" }, { "type": "input_audio", "input_audio": audio }]);
        let messages = json!([{ "role": "user", "content": content }]);
        running.post("/v1/chat/completions", &json!({ "messages": messages, "max_tokens": 4, "seed": 7 }))
    };
    let answer = heard(&tone()).expect(200);
    let silent = json!({ "messages": [{ "role": "user", "content": "A" }], "max_tokens": 4, "seed": 7 });
    let silent = running.post("/v1/chat/completions", &silent).expect(200);
    // What opens and closes it, 4 codes for a tenth of a second, and a blank behind it; the blank before it is of the token
    // `A `.
    let tokens = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(tokens(&answer), tokens(&silent) + 7);
    let tone = tone();
    for (file, expected) in [
        (&b"no sound"[..], "is not a sound of a known format; allowed: WAV, FLAC"),
        (&tone[..30], "is a damaged sound"),
        (&tone[..44], "has no samples"),
    ] {
        let error = heard(file).expect(400)["error"].clone();
        assert_eq!(error["param"], "messages[0].content[1].input_audio.data", "{error}");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
    }
}

#[test]
fn what_cannot_be_done_for_a_picture_or_a_sound_is_refused_by_its_name() {
    let running = running();
    let images = [
        ("size", json!("1024x1024"), "`size` is `1024x1024`; allowed: `auto`, `8x8`"),
        ("response_format", json!("url"), "`response_format` is `url`; allowed: `b64_json`"),
        ("output_format", json!("webp"), "`output_format` is `webp`; allowed: `png`"),
        ("output_compression", json!(50), "`output_compression` is not supported; PNG loses nothing"),
        ("quality", json!("hd"), "`quality` is `hd`; allowed: `auto`"),
        ("background", json!("transparent"), "`background` is `transparent`; allowed: `auto`"),
        ("moderation", json!("high"), "`moderation` is `high`; allowed: `auto`, `low`"),
        ("style", json!("vivid"), "`style` is not supported; say it in `prompt`"),
        ("partial_images", json!(2), "`partial_images` is not supported; `/v1/canvas` streams pictures"),
        ("stream", json!(true), "`stream` is not supported; `/v1/canvas` streams pictures"),
        ("n", json!(17), "`n` is 17; allowed: 1 to 16"),
        ("media_steps", json!(1_000_000), "`media_steps` is 1000000; allowed: at most 100000"),
        ("mask", json!("x"), "`mask` is no field of this request"),
        ("prompt", json!(null), "`prompt` is missing"),
    ];
    let sounds = [
        ("voice", json!("alloy"), "`voice` is `alloy`; allowed: `default`"),
        ("response_format", json!("mp3"), "`response_format` is `mp3`; allowed: `wav`"),
        ("stream_format", json!("sse"), "`stream_format` is `sse`; allowed: `audio`"),
        ("speed", json!(2.0), "`speed` is not supported; a model speaks as fast as it learned to"),
        ("instructions", json!("softly"), "`instructions` is not supported; leave it out"),
        ("input", json!(null), "`input` is missing"),
    ];
    for (path, fields, text) in
        [("/v1/images/generations", &images[..], "prompt"), ("/v1/audio/speech", &sounds[..], "input")]
    {
        for (field, value, message) in fields {
            let mut body = json!({ text: "A fox" });
            body[field] = value.clone();
            let error = running.post(path, &body).expect(400)["error"].clone();
            assert_eq!((error["param"].as_str(), error["message"].as_str()), (Some(*field), Some(*message)));
        }
    }
    let long = running.post("/v1/images/generations", &json!({ "prompt": "fox ".repeat(200) })).expect(400);
    assert_eq!(
        (&long["error"]["param"], &long["error"]["code"]),
        (&json!("prompt"), &json!("context_length_exceeded"))
    );
}
