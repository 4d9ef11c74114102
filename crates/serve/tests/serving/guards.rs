//! A server that judges what it is given and what it writes.

use crate::support::Running;
use aquatint::guard::{Guard, Guards, WordList};
use serde_json::{Value, json};
use std::sync::Arc;

fn guards(list: &str, repairs: usize) -> Guards {
    let list: Arc<dyn Guard> = Arc::new(WordList::parse("words", list).unwrap());
    Guards::new(vec![list], repairs)
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn body() -> Value {
    json!({ "prompt": "Once upon a time", "max_tokens": 24, "temperature": 1, "seed": 5 })
}

#[test]
fn a_given_text_that_offends_is_refused_on_every_path() {
    let running = Running::with(|settings| settings.guards = Some(guards("pick a lock", 3)));
    let chat = |text: &str| json!({ "messages": [{ "role": "user", "content": text }], "max_tokens": 4 });
    let alternatives = |text: &str| {
        let tokens = running.post("/tokenize", &json!({ "prompt": text })).expect(200)["tokens"].clone();
        let given = |token: &Value| json!({ "state": "given", "token": token });
        let positions: Vec<Value> = tokens.as_array().unwrap().iter().map(given).collect();
        json!({ "canvas": { "positions": positions }, "positions": [0], "count": 2 })
    };
    let requests = [
        ("/v1/completions", json!({ "prompt": "How to pick a lock", "max_tokens": 4 })),
        ("/v1/completions", json!({ "prompt": "pick a ", "suffix": "lock", "max_tokens": 4 })),
        ("/v1/chat/completions", chat("How to Pick a lock?")),
        ("/v1/canvas", json!({ "template": "pick a l[[2]]ock" })),
        ("/v1/canvas/alternatives", alternatives("How to pick a lock")),
    ];
    for (path, body) in requests {
        let error = running.post(path, &body).expect(400)["error"].clone();
        assert_eq!(
            (&error["code"], &error["type"]),
            (&"content_filter".into(), &"invalid_request_error".into()),
            "{path}"
        );
        let message = error["message"].as_str().unwrap();
        assert_eq!(message, "the given text is refused: it has what line 1 of the word list words says", "{path}");
    }
    running.post("/v1/chat/completions", &chat("How to pick a flower?")).expect(200);
    running.post("/v1/canvas/alternatives", &alternatives("How to pick a flower")).expect(200);
    assert_eq!(running.get("/v1/models").expect(200)["data"][0]["meta"]["guarded"], true);
    running.stop().unwrap();
}

#[test]
fn what_offends_is_written_anew_before_anybody_reads_it_or_refused() {
    let free = Running::start();
    let written = free.post("/v1/completions", &body()).expect(200)["choices"][0]["text"].as_str().unwrap().to_owned();
    assert!(free.get("/v1/models").expect(200)["data"][0]["meta"].get("guarded").is_none());
    free.stop().unwrap();
    let word = words(&written).into_iter().max_by_key(String::len).unwrap();

    let repairing = Running::with(|settings| settings.guards = Some(guards(&word, 20)));
    let whole = repairing.post("/v1/completions", &body()).expect(200);
    let text = whole["choices"][0]["text"].as_str().unwrap();
    assert!(!words(text).contains(&word) && text != written, "{word}: {text}");
    let mut streamed = body();
    streamed["stream"] = json!(true);
    let events = repairing.stream("/v1/completions", &streamed).events();
    let chunks = events.iter().filter(|event| event.data != "[DONE]");
    let parts = chunks.filter_map(|event| event.json().pointer("/choices/0/text")?.as_str().map(str::to_owned));
    assert_eq!(parts.collect::<String>(), text, "what was streamed is not taken back");
    repairing.stop().unwrap();

    let refusing = Running::with(|settings| settings.guards = Some(guards(&word, 0)));
    let error = refusing.post("/v1/completions", &body()).expect(400)["error"].clone();
    assert_eq!(error["code"], "content_filter");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("what was written is refused: it has what line 1 of the word list words says"),
        "{message}"
    );
    refusing.stop().unwrap();
}

/// A server that refuses all texts which one without guards writes for this body, with those texts and the words for which it
/// refuses them.
fn refusing_all(body: &Value) -> (Running, Vec<String>, Vec<String>) {
    let free = Running::start();
    let answer = free.post("/v1/completions", body).expect(200);
    free.stop().unwrap();
    let given = words(body["prompt"].as_str().unwrap());
    let text = |choice: &Value| choice["text"].as_str().unwrap().to_owned();
    let texts: Vec<String> = answer["choices"].as_array().unwrap().iter().map(text).collect();
    let word =
        |text: &String| words(text).into_iter().filter(|word| !given.contains(word)).max_by_key(String::len).unwrap();
    let list: Vec<String> = texts.iter().map(word).collect();
    (Running::with(|settings| settings.guards = Some(guards(&list.join("\n"), 0))), texts, list)
}

#[test]
fn where_all_choices_are_refused_the_request_is() {
    let mut body = body();
    body["n"] = json!(3);
    let (refusing, ..) = refusing_all(&body);
    let error = refusing.post("/v1/completions", &body).expect(400)["error"].clone();
    refusing.stop().unwrap();
    assert_eq!((&error["code"], &error["type"]), (&"content_filter".into(), &"invalid_request_error".into()));
    assert!(error["message"].as_str().unwrap().starts_with("what was written is refused: "), "{error}");
}

/// The head was sent when a text is refused, so that the error is an event, the last one. Before it comes the text of blocks that
/// passed.
#[test]
fn a_stream_that_is_refused_ends_with_the_error_and_has_nothing_that_offends() {
    for choices in [1, 3] {
        let mut body = body();
        body["n"] = json!(choices);
        let (refusing, texts, list) = refusing_all(&body);
        body["stream"] = json!(true);
        let mut events = refusing.stream("/v1/completions", &body).events();
        refusing.stop().unwrap();
        let error = events.pop().unwrap().json()["error"].clone();
        assert_eq!((&error["code"], &error["type"]), (&"content_filter".into(), &"invalid_request_error".into()));
        assert!(error["message"].as_str().unwrap().starts_with("what was written is refused: "), "{error}");
        let mut sent = vec![String::new(); texts.len()];
        for chunk in events.iter().map(|event| event.json()) {
            for choice in chunk["choices"].as_array().unwrap() {
                assert_eq!(choice["finish_reason"], Value::Null, "{choice}");
                sent[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
            }
        }
        for (sent, whole) in sent.iter().zip(&texts) {
            assert!(whole.starts_with(sent) && sent != whole, "{sent:?} of {whole:?}");
            assert!(!words(sent).iter().any(|word| list.contains(word)), "{sent:?} has one of {list:?}");
        }
    }
}

#[test]
fn a_choice_that_is_refused_leaves_the_others() {
    let mut body = body();
    body["n"] = json!(4);
    let choices = |running: &Running| running.post("/v1/completions", &body).expect(200)["choices"].clone();
    let free = Running::start();
    let written = choices(&free);
    free.stop().unwrap();
    let texts: Vec<&str> = written.as_array().unwrap().iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    let has = |text: &str, word: &String| words(text).contains(word);
    let of_some = |word: &String| !texts.iter().all(|text| has(text, word));
    let word = words(texts[0]).into_iter().filter(of_some).max_by_key(String::len).unwrap();

    let guarded = Running::with(|settings| settings.guards = Some(guards(&word, 0)));
    let answered = choices(&guarded);
    guarded.stop().unwrap();
    let refused = texts.iter().filter(|text| has(text, &word)).count();
    assert!((1..4).contains(&refused) && answered.as_array().unwrap().len() == 4, "{refused} of 4 have {word}");
    for (index, text) in texts.iter().enumerate() {
        let (choice, before) = (&answered[index], &written[index]);
        match has(text, &word) {
            true => assert_eq!((&choice["text"], &choice["finish_reason"]), (&"".into(), &"content_filter".into())),
            false => {
                assert_eq!((&choice["text"], &choice["finish_reason"]), (&before["text"], &before["finish_reason"]))
            }
        }
    }
}
