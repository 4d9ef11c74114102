//! Pictures that come with a request, and pictures of answers, beside text.

use crate::media::running;
use crate::support::{Stream, picture_url};
use aquatint::codec::Picture;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

const RED: [u8; 4] = [220, 30, 30, 255];
const BLUE: [u8; 4] = [20, 30, 220, 255];

/// The pixels of a picture in a URL that holds it.
#[track_caller]
fn pixels(url: &Value) -> Vec<[u8; 4]> {
    let data = url.as_str().unwrap().strip_prefix("data:image/png;base64,").unwrap();
    let picture = Picture::decode("it", &BASE64_STANDARD.decode(data).unwrap()).unwrap();
    assert_eq!((picture.width(), picture.height()), (8, 8));
    picture.pixels().to_vec()
}

fn events(mut stream: Stream) -> Vec<(String, Value)> {
    std::iter::from_fn(|| stream.event()).map(|event| (event.name.clone(), event.json())).collect()
}

#[test]
fn a_canvas_has_given_pictures_and_pictures_that_are_made() {
    let running = running();
    let request = json!({
        "template": "[[picture:red]] fox [[4]] [[picture:red,mask=2x1+1x0]][[picture]]",
        "files": { "red": picture_url(RED) }, "seed": 3, "steps": 3, "media_steps": 4,
    });
    let answer = running.post("/v1/canvas", &request).expect(200);
    let result = &answer["results"][0];
    let pieces = result["pieces"].as_array().unwrap();
    let kinds: Vec<_> = pieces.iter().map(|piece| (piece["type"].as_str().unwrap(), piece["made"].as_bool())).collect();
    let picture = |made| ("picture", Some(made));
    assert_eq!(kinds, [picture(false), ("text", None), picture(true), picture(true)]);
    assert_eq!(pieces[1]["text"], result["text"]);
    assert_eq!(result["usage"]["completion_tokens"], 4 + 2 + 16);
    pieces.iter().filter(|piece| piece["type"] == "picture").for_each(|piece| drop(pixels(&piece["url"])));
    // Around what was made anew the picture is the one that was given.
    let painted = |pieces: &[Value]| {
        let pixels = pixels(&pieces[2]["url"]);
        let inside = |index: &usize| index / 8 < 2 && (2..6).contains(&(index % 8));
        let count = |is_inside| (0..64).filter(inside).filter(|index| (pixels[*index] == RED) == is_inside).count();
        assert!((0..64).filter(|index| !inside(index)).all(|index| pixels[index] == RED), "{pixels:?}");
        assert_eq!(count(false), 8, "{pixels:?}");
    };
    painted(pieces);
    // The canvas can be sent again: what of it is written is opened, and the pictures stay pictures.
    let canvas = result["canvas"].clone();
    let spans = canvas["spans"].as_array().unwrap().clone();
    let media: Vec<_> = spans.iter().map(|span| span["media"].as_str()).collect();
    assert_eq!(media, [Some("picture"), None, Some("picture"), Some("picture")]);
    let last: Vec<u64> = (spans[3]["start"].as_u64().unwrap()..spans[3]["end"].as_u64().unwrap()).collect();
    let again =
        json!({ "canvas": canvas, "renoise": { "positions": last, "strength": 1.0 }, "seed": 9, "media_steps": 4 });
    let redone = running.post("/v1/canvas", &again).expect(200);
    let redone = redone["results"][0]["pieces"].as_array().unwrap();
    assert_eq!(redone.len(), 4);
    for unchanged in 0..3 {
        let url = |pieces: &[Value]| pieces[unchanged].get("url").cloned();
        assert_eq!(url(redone), url(pieces), "{unchanged}");
    }
    assert_ne!(redone[3]["url"], pieces[3]["url"]);
    assert_eq!(redone[3]["made"], true);
    painted(redone);
    // A code that was made and is pinned stays a code that was made.
    let mut pinned = again.clone();
    let start = spans[2]["start"].as_u64().unwrap() as usize;
    assert_eq!(spans[2]["original"]["made"], json!([start + 1, start + 2]));
    pinned["canvas"]["positions"][start + 1]["state"] = json!("given");
    let pinned = running.post("/v1/canvas", &pinned).expect(200);
    assert_eq!(pinned["results"][0]["pieces"][2]["url"], pieces[2]["url"]);
    // One that was given and is opened is one that is made.
    let mut opened = again.clone();
    opened["canvas"]["positions"][start + 15] = json!({ "state": "open" });
    let opened = running.post("/v1/canvas", &opened).expect(200);
    let answered = &opened["results"][0];
    assert_eq!(answered["canvas"]["spans"][2]["original"]["made"], json!([start + 1, start + 2, start + 15]));
    assert_ne!(pixels(&answered["pieces"][2]["url"])[63], RED);
    // A text alone has no pieces.
    let plain = running.post("/v1/canvas", &json!({ "template": "A [[2]]", "steps": 1 })).expect(200);
    assert!(plain["results"][0].get("pieces").is_none());
}

#[test]
fn text_and_picture_settle_side_by_side_and_previews_show_them() {
    let running = running();
    let request = json!({
        "template": "[[picture:blue]] A fox [[4]]. [[picture]]", "files": { "blue": picture_url(BLUE) },
        "seed": 5, "steps": 4, "media_steps": 4, "stream": true,
    });
    let mut watched = request.clone();
    watched["previews"] = json!(true);
    let (plain, watched) = (running.stream("/v1/canvas", &request), running.stream("/v1/canvas", &watched));
    let (plain, watched) = (events(plain), events(watched));
    let steps = |events: &[(String, Value)]| -> Vec<Value> {
        events.iter().filter(|(name, _)| name == "step").map(|(_, event)| event.clone()).collect()
    };
    assert!(steps(&plain).iter().all(|step| step.get("pictures").is_none()));
    // Both have steps, by turns.
    let parts: Vec<u64> = steps(&watched).iter().map(|step| step["part"].as_u64().unwrap()).collect();
    assert_eq!(parts[..4], [0, 1, 0, 1], "{parts:?}");
    let of = |events: &[(String, Value)], name: &str| events.iter().find(|(found, _)| found == name).unwrap().1.clone();
    // The given picture is there from the beginning; the other one comes with the steps that change it.
    let (started, finished) = (of(&watched, "started"), of(&watched, "finished"));
    let given = started["pictures"].as_object().unwrap();
    assert_eq!(given.keys().collect::<Vec<_>>(), ["1"]);
    assert_eq!(given["1"], finished["pieces"][0]["url"]);
    let mut shown = Vec::new();
    for step in steps(&watched) {
        let pictures = step["pictures"].as_object();
        assert_eq!(pictures.is_some(), step["part"] == 1, "{step}");
        shown.extend(pictures.into_iter().flat_map(|pictures| pictures.values().cloned()));
    }
    assert_eq!(shown.len(), 4);
    assert_eq!(shown.last(), Some(&finished["pieces"][2]["url"]));
    assert_ne!(pixels(&shown[0]), pixels(&shown[3]));
    // No step is lost while a picture is drawn.
    let mut again = request.clone();
    again["previews"] = json!(true);
    for _ in 0..8 {
        assert_eq!(steps(&events(running.stream("/v1/canvas", &again))), steps(&watched));
    }
    // Watched or not, it is the same canvas.
    assert_eq!(of(&plain, "finished")["canvas"], finished["canvas"]);
    let refused = running.post("/v1/canvas", &json!({ "template": "[[picture]]", "previews": true })).expect(400);
    assert_eq!(refused["error"]["param"], "previews");
}

#[test]
fn a_conversation_has_pictures_and_so_has_its_answer() {
    let running = running();
    let say = |colour, more: Value| {
        let part = json!({ "type": "image_url", "image_url": { "url": picture_url(colour), "detail": "auto" } });
        let content = json!([{ "type": "text", "text": "What is this?" }, part]);
        let mut body = json!({ "messages": [{ "role": "user", "content": content }], "max_tokens": 6, "seed": 7 });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        body
    };
    let of = |body: &Value| running.post("/v1/chat/completions", body).expect(200);
    let answer = of(&say(RED, json!({ "temperature": 0 })));
    // Text, a blank, and a picture between its marks.
    let plain = json!({ "messages": [{ "role": "user", "content": "What is this? " }], "max_tokens": 6, "seed": 7 });
    let given = of(&plain)["usage"]["prompt_tokens"].as_u64().unwrap();
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() >= given + 18, "{answer}");
    assert!(answer["choices"][0]["message"].get("images").is_none());
    // The same by the other protocols.
    let image = picture_url(RED).split_once(',').unwrap().1.to_owned();
    let ollama = json!({
        "messages": [{ "role": "user", "content": "What is this?", "images": [image] }], "stream": false,
        "options": { "num_predict": 6, "seed": 7 },
    });
    let read = running.post("/api/chat", &ollama).expect(200)["prompt_eval_count"].clone();
    let generated = json!({ "prompt": "What is this?", "images": ollama["messages"][0]["images"], "stream": false, "options": ollama["options"] });
    assert_eq!(running.post("/api/generate", &generated).expect(200)["prompt_eval_count"], read);
    let parts = json!([image_part(&picture_url(RED)), { "type": "text", "text": "What is this?" }]);
    let completed =
        running.post("/v1/completions", &json!({ "prompt": parts, "max_tokens": 6, "seed": 7 })).expect(200);
    assert_eq!(completed["usage"]["prompt_tokens"], read);

    // A picture is made beside the answer, whole or in a stream.
    let both = say(BLUE, json!({ "modalities": ["image", "text"], "media_steps": 4, "stop": "e" }));
    let answer = of(&both);
    let message = &answer["choices"][0]["message"];
    assert!(message["content"].is_string());
    let images = message["images"].as_array().unwrap();
    assert!(images.len() == 1 && images[0]["type"] == "image_url", "{answer}");
    pixels(&images[0]["image_url"]["url"]);
    let mut streamed = both.clone();
    streamed["stream"] = json!(true);
    let chunks = running.stream("/v1/chat/completions", &streamed).events();
    let deltas: Vec<Value> = chunks.iter().filter(|chunk| chunk.data != "[DONE]").map(|chunk| chunk.json()).collect();
    let of = |field: &str| -> Vec<Value> {
        let values = deltas.iter().map(|chunk| chunk["choices"][0]["delta"][field].clone());
        values.filter(|value| !value.is_null()).collect()
    };
    let text: String = of("content").iter().map(|part| part.as_str().unwrap().to_owned()).collect();
    assert_eq!((&json!(text), of("images")), (&message["content"], vec![message["images"].clone()]));
}

fn image_part(url: &str) -> Value {
    json!({ "type": "image_url", "image_url": { "url": url } })
}

#[test]
fn what_is_no_picture_or_cannot_stand_there_is_refused_with_its_place() {
    let running = running();
    let refused = |path: &str, body: &Value| {
        let error = running.post(path, body).expect(400)["error"].clone();
        (error["param"].as_str().unwrap_or_default().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let hostile = |bytes: &[u8]| format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
    let png = BASE64_STANDARD.decode(picture_url(RED).split_once(',').unwrap().1).unwrap();
    let cut = hostile(&png[..png.len() - 20]);
    for (url, expected) in [
        ("http://169.254.169.254/latest", "is `http://169.254.169.254/latest`; allowed: a URL that holds a picture"),
        ("file:///etc/passwd", "is `file:///etc/passwd`; allowed: a URL that holds a picture"),
        ("data:image/png;base64,%%%", "is no base64"),
        (&hostile(b"<svg/>"), "is not a picture of a known format; allowed: PNG, JPEG, WebP"),
        (&cut, "is a damaged picture"),
    ] {
        let place = "messages[0].content[0].image_url.url";
        let body = json!({ "messages": [{ "role": "user", "content": [image_part(url)] }], "max_tokens": 1 });
        let (param, message) = refused("/v1/chat/completions", &body);
        assert!(param == place && message.starts_with(&format!("`{place}` {expected}")), "{message}");
        let body = json!({ "template": "[[picture:f]] [[1]]", "files": { "f": url } });
        let (param, message) = refused("/v1/canvas", &body);
        assert!(param == "files.f" && message.contains(expected), "{param}: {message}");
    }
    let red = picture_url(RED);
    let detailed = json!({ "type": "image_url", "image_url": { "url": red, "detail": "high" } });
    let messages = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }], "max_tokens": 1 });
    let mut many = json!({ "messages": [{ "role": "user", "content": vec![image_part(&red); 17] }] });
    many["max_tokens"] = json!(1);
    let mut elsewhere = messages(image_part(&red));
    elsewhere["model"] = json!("tales");
    let chat = [
        (messages(detailed), "messages[0].content[0].image_url.detail", "is `high`; allowed: `auto`"),
        (messages(json!({ "type": "file" })), "messages[0].content[0].type", "is `file`; allowed: `text`, `image_url`"),
        (messages(json!({ "type": "image_url" })), "messages[0].content[0].image_url", "image_url` is missing"),
        (many, "messages[0].content[16].image_url.url", "allowed: 16 pictures and sounds in all"),
        (elsewhere, "messages[0].content[0].image_url.url", "the model `tales` has no pictures; allowed: text"),
        (
            json!({ "messages": [{ "role": "user", "content": "x" }], "modalities": ["audio"] }),
            "modalities",
            "is `audio`; allowed: `text`, or",
        ),
    ];
    for (body, place, expected) in chat {
        let (param, message) = refused("/v1/chat/completions", &body);
        assert!(param == place && message.contains(expected), "{param}: {message}");
    }
    let files = |template: &str| json!({ "template": template, "files": { "f": red } });
    let codes = json!({ "canvas": {
        "positions": [{ "state": "given", "token": 3 }, { "state": "open" }],
        "spans": [{ "start": 0, "end": 2, "approximate": false, "media": "picture" }],
    } });
    let original = |media: &str, url: &str, made: usize| {
        let mut positions = vec![json!({ "state": "open" }); 18];
        positions[0] = json!({ "state": "given", "token": 3 });
        let original = json!({ "url": url, "made": [made] });
        let span = json!({ "start": 1, "end": 17, "approximate": false, "media": media, "original": original });
        json!({ "canvas": { "positions": positions, "spans": [span] } })
    };
    let broken = format!("{}AAAA", &red[..82]);
    let canvases = [
        (files("[[1]]"), "files.f", "`files.f` is not named in `template`"),
        (
            files("[[picture:f]] [[picture:g]]"),
            "template",
            "the picture `g` did not come with the template; allowed: f",
        ),
        (files("[[picture:f,mask=9x9+0x0]]"), "template", "`mask` is 9x9+0x0; allowed: a part of the 4 columns"),
        (files("[[picture:/etc/passwd]]"), "files.f", "is not named"),
        (codes, "canvas.positions[0].token", "is 3; allowed: "),
        (original("picture", &red, 0), "canvas.spans[0].original.made[0]", "is 0; allowed: 1 to 16, the positions"),
        (original("picture", "http://x", 1), "canvas.spans[0].original.url", "nothing is fetched"),
        (original("picture", &broken, 1), "canvas.spans[0].original.url", "is a damaged picture"),
        (original("picture", "data:audio/wav;base64,eA==", 1), "canvas.spans[0].original", "and a picture"),
    ];
    for (body, place, expected) in canvases {
        let (param, message) = refused("/v1/canvas", &body);
        assert!(param == place && message.contains(expected), "{param}: {message}");
    }
    // And the server goes on.
    assert_eq!(running.get("/health").status, 200);
}
