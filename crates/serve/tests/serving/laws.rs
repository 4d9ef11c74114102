//! A request gets the same text whatever else is running.

use crate::support::{Answer, Call, Running};
use serde_json::{Value, json};
use std::io::Read;

/// Requests of unlike lengths, policies and paths.
fn mixed() -> Vec<(&'static str, Value)> {
    let policies = ["confidence", "entropy-bound:0.5", "threshold:0.6", "random"];
    let request = |number: usize| {
        let (policy, length) = (policies[number % 4], 4 + number * 7 % 13);
        let mut body = json!({
            "seed": number, "max_tokens": length, "steps": 2 + number % 5, "policy": policy, "temperature": 0.8,
        });
        let path = match number % 3 {
            0 => {
                body["template"] = json!(format!("Once the [[{}]] went to the [[~6]].", 1 + number % 5));
                "/v1/canvas"
            }
            1 => {
                body["prompt"] = json!("Once upon a time there was");
                body["n"] = json!(1 + number % 2);
                "/v1/completions"
            }
            _ => {
                body["messages"] = json!([{ "role": "user", "content": format!("Tell me {number} tales") }]);
                body["block_length"] = json!(4);
                "/v1/chat/completions"
            }
        };
        if path == "/v1/canvas" {
            body.as_object_mut().unwrap().remove("max_tokens");
        }
        (path, body)
    };
    (0..64).map(request).collect()
}

/// The texts of an answer.
fn texts(answer: &Answer) -> Value {
    let json = answer.expect(200);
    let all = json["choices"].as_array().or(json["results"].as_array()).unwrap();
    all.iter().map(|one| json!([one["text"], one["message"]["content"], one["finish_reason"]])).collect()
}

#[test]
fn a_request_gets_the_same_text_whatever_else_is_running() {
    let running = Running::start();
    let requests = mixed();
    let alone: Vec<Value> = requests.iter().map(|(path, body)| texts(&running.post(path, body))).collect();
    assert!(alone.iter().any(|texts| texts != &alone[0]));
    let address = running.address();
    let together: Vec<Value> = std::thread::scope(|scope| {
        // Some go away at once, and one reads nothing until all others are done.
        let long = |seed: usize| {
            let body = json!({ "prompt": "Once", "max_tokens": 60, "steps": 4, "block_length": 8, "seed": seed, "stream": true });
            Call::post("/v1/completions", &body)
        };
        let mut slow = long(0).open(address);
        for seed in 1..7 {
            scope.spawn(move || drop(long(seed).open(address)));
        }
        let send = |(path, body): &(&str, Value)| {
            let call = Call::post(path, body);
            scope.spawn(move || texts(&call.send(address)))
        };
        let sent: Vec<_> = requests.iter().map(send).collect();
        let together = sent.into_iter().map(|thread| thread.join().unwrap()).collect();
        let mut rest = String::new();
        slow.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("data: [DONE]\n\n"));
        together
    });
    for (number, (alone, together)) in alone.iter().zip(&together).enumerate() {
        assert_eq!(alone, together, "request {number}: {:?}", requests[number]);
    }
}

#[test]
fn more_than_the_queue_holds_is_sent_away() {
    let running = Running::with(|settings| settings.queue = 2);
    let body = json!({ "prompt": "Once", "max_tokens": 2, "steps": 1, "seed": 1, "n": 16 });
    // The results of one request wait together; sixteen at once may not all find room.
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let send = |_| scope.spawn(|| running.post("/v1/completions", &body));
        let sent: Vec<_> = (0..8).map(send).collect();
        sent.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sent_away: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!sent_away.is_empty());
    for answer in sent_away {
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(answer.json()["error"]["code"], "queue_full");
    }
}
