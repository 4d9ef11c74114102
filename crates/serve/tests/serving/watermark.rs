//! A server that marks what it writes.

use crate::support::Running;
use aquatint::checkpoint::Checkpoint;
use aquatint::provenance::{SchemeKind, Verdict, WatermarkKey};
use serde_json::{Value, json};

#[test]
fn every_text_is_marked_and_the_listing_says_so() {
    let key = WatermarkKey::of_bytes(SchemeKind::Gumbel { period: 256 }, [3; 16]).unwrap();
    let running = Running::with(|settings| settings.watermark = Some(key.clone()));
    let vocabulary = Checkpoint::open(&crate::support::fixture()).unwrap().vocabulary;
    let body = json!({ "prompt": "Once upon a time", "max_tokens": 90, "temperature": 1, "top_p": 1, "seed": 5 });
    let chat = json!({
        "messages": [{ "role": "user", "content": "Once upon a time" }], "max_tokens": 90, "temperature": 1, "top_p": 1,
        "seed": 6
    });
    let answers: [(&str, &Value, &str); 2] =
        [("/v1/completions", &body, "/choices/0/text"), ("/v1/chat/completions", &chat, "/choices/0/message/content")];
    for (path, body, pointer) in answers {
        let answer = running.post(path, body).expect(200);
        let text = answer.pointer(pointer).and_then(Value::as_str).unwrap();
        let found = key.scheme().detect(&vocabulary.encode(text).unwrap());
        assert_eq!(found.verdict(1e-3), Verdict::Marked, "{path}: {found:?} {text}");
    }
    let cold = json!({ "prompt": "The fox", "max_tokens": 4, "temperature": 0 });
    let warnings = running.post("/v1/completions", &cold).expect(200)["warnings"].to_string();
    assert!(warnings.contains("`watermark` has no effect: temperature 0"), "{warnings}");
    assert_eq!(running.get("/v1/models").expect(200)["data"][0]["meta"]["watermark"], "gumbel");
    running.stop().unwrap();

    let plain = Running::start();
    plain.post("/v1/completions", &body).expect(200);
    assert!(plain.get("/v1/models").expect(200)["data"][0]["meta"].get("watermark").is_none());
    plain.stop().unwrap();
}
