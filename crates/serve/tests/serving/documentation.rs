//! The examples of `docs/SERVER.md` are what the server does. A block fenced as `sh` is one call of curl; `# 400` before it
//! names a status other than 200. A `json` block behind it has fields that the answer has; strings with `…` and numbers but
//! those of [`EXACT`] may be others. A `text` block behind it names events of the stream.

use crate::support::{Answer, Call, Running, ServerEvent};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../../docs/SERVER.md");
const ADDRESS: &str = "http://127.0.0.1:8642";
/// Fields whose numbers are those of the document, since the request or the template decides them.
const EXACT: [&str; 5] = ["index", "seed", "position", "start", "end"];

/// A fenced block: its kind and its lines.
struct Block<'a> {
    kind: &'a str,
    text: String,
}

fn blocks() -> Vec<Block<'static>> {
    let (mut blocks, mut open) = (Vec::new(), None::<Block<'static>>);
    for line in DOCUMENT.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(kind), None) => open = Some(Block { kind, text: String::new() }),
            (None, Some(block)) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

/// The words of a command, with single quotes as the shell reads them.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// A call of curl, and the status that it is answered with.
fn call(block: &str, canvas: &str) -> (Call, u16) {
    let (status, command) = match block.strip_prefix("# ") {
        Some(rest) => rest.split_once('\n').map(|(status, rest)| (status.parse().unwrap(), rest)).unwrap(),
        None => (200, block),
    };
    let mut words = words(command).into_iter();
    assert_eq!(words.next().as_deref(), Some("curl"), "{command}");
    let (mut path, mut headers, mut body) = (None, Vec::new(), None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-N" => {}
            "-H" => headers.push(words.next().unwrap()),
            "-d" => body = words.next(),
            word => path = Some(word.strip_prefix(ADDRESS).unwrap().replace("$ID", canvas)),
        }
    }
    let path = path.unwrap();
    let call = match body {
        Some(body) => Call::new("POST", &path).body(body),
        None => Call::get(&path),
    };
    let header = |call: Call, header: &String| {
        let (name, value) = header.split_once(": ").unwrap();
        call.header(name, value)
    };
    (headers.iter().fold(call, header), status)
}

/// That an answer has what the document shows.
#[track_caller]
fn compare(shown: &Value, answer: &Value, place: &str) {
    let name = place.rsplit('.').next().unwrap_or(place);
    match (shown, answer) {
        (Value::Object(shown), Value::Object(fields)) => {
            for (key, value) in shown {
                let field = fields.get(key).unwrap_or_else(|| panic!("{place} has no `{key}`: {answer}"));
                compare(value, field, &format!("{place}.{key}"));
            }
        }
        (Value::Array(shown), Value::Array(items)) => {
            assert!(items.len() >= shown.len(), "{place} has {} items: {answer}", items.len());
            shown.iter().zip(items).for_each(|(shown, item)| compare(shown, item, place));
        }
        (Value::String(shown), Value::String(_)) if shown.contains('…') => {}
        (Value::Number(_), Value::Number(_)) if !EXACT.contains(&name) => {}
        _ => assert_eq!(shown, answer, "{place}"),
    }
}

/// That a stream has the events that the document names, in their order.
fn follow(shown: &str, events: &[ServerEvent]) {
    let names = shown.lines().filter_map(|line| line.strip_prefix("event: "));
    let mut rest = events.iter();
    for name in names {
        assert!(rest.any(|event| event.name == name), "there is no `{name}` in its place");
    }
    if shown.contains("data: [DONE]") {
        assert_eq!(events.last().unwrap().data, "[DONE]");
    }
}

enum Answered {
    Whole(Answer),
    Events(Vec<ServerEvent>),
}

#[test]
fn every_example_of_the_document_is_answered_as_shown() {
    let running = Running::start();
    let (mut canvas, mut answered, mut count) = (String::new(), None, 0);
    for Block { kind, text } in blocks() {
        match kind {
            "sh" => {
                let (call, status) = call(&text, &canvas);
                count += 1;
                answered = Some(if text.contains("curl -N") {
                    let stream = call.open(running.address());
                    assert_eq!(stream.status(), status, "{text}");
                    let events = stream.events();
                    let opened = events.iter().find(|event| event.name == "opened");
                    if let Some(id) = opened.and_then(|event| event.json()["id"].as_str().map(str::to_owned)) {
                        canvas = id;
                    }
                    Answered::Events(events)
                } else {
                    let answer = call.send(running.address());
                    assert_eq!(answer.status, status, "{text}{}", answer.text());
                    Answered::Whole(answer)
                });
            }
            "json" => {
                let shown = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                let Some(Answered::Whole(answer)) = &answered else { panic!("no whole answer for {text}") };
                compare(&shown, &answer.json(), "answer");
            }
            "text" => {
                let Some(Answered::Events(events)) = &answered else { panic!("no stream for {text}") };
                follow(&text, events);
            }
            _ => {}
        }
    }
    assert!(count >= 10, "only {count} examples were found");
    running.stop().unwrap();
}
