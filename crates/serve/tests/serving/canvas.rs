//! `/v1/canvas`: what its events say is what its results are, and edits keep what they are to keep.

use crate::support::{Call, Running, Stream};
use serde_json::{Value, json};

fn events(mut stream: Stream) -> Vec<(String, Value)> {
    std::iter::from_fn(|| stream.event()).map(|event| (event.name.clone(), event.json())).collect()
}

/// Draws a canvas from its events alone.
fn replay(events: &[(String, Value)], index: u64) -> Value {
    let mut positions = Value::Null;
    for (name, event) in events.iter().filter(|(_, event)| event["index"] == index) {
        match name.as_str() {
            "started" => positions = event["canvas"]["positions"].clone(),
            "step" => {
                for change in event["changes"].as_array().unwrap() {
                    let place = &mut positions[change["position"].as_u64().unwrap() as usize];
                    match change["kind"].as_str().unwrap() {
                        "committed" | "edited" => {
                            (place["state"], place["token"]) = (json!("written"), change["token"].clone())
                        }
                        "renoised" => (place["state"], place["token"]) = (json!("open"), Value::Null),
                        "revised" => {}
                        other => panic!("{other}"),
                    }
                }
                for position in event["closed"].as_array().unwrap() {
                    let place = &mut positions[position.as_u64().unwrap() as usize];
                    (place["state"], place["token"]) = (json!("closed"), Value::Null);
                }
                for (position, text) in event["texts"].as_object().unwrap() {
                    positions[position.parse::<usize>().unwrap()]["text"] = text.clone();
                }
            }
            _ => {}
        }
    }
    positions
}

fn plain(positions: &Value) -> Vec<(Value, Value, Value)> {
    let positions = positions.as_array().unwrap().iter();
    positions.map(|position| (position["state"].clone(), position["token"].clone(), position["text"].clone())).collect()
}

fn text(positions: &Value) -> String {
    positions.as_array().unwrap().iter().filter_map(|position| position["text"].as_str()).collect()
}

#[test]
fn the_events_of_a_stream_replay_to_its_results() {
    let server = Running::start();
    let requests = [
        json!({"template": "Once upon a time", "max_tokens": 24, "seed": 3}),
        json!({"template": "The [[3]] sat on the [[~8]].", "seed": 7, "steps": 8, "policy": "confidence"}),
        json!({"template": "A \u{e4}gypt [[12]]", "seed": 5, "steps": 8, "remasking": "rescale:0.5", "block_length": 12}),
        json!({"template": "A fox [[8]]", "seed": 5, "variations": 3, "temperature": 1.0}),
        json!({"template": "A fox [[8]]", "seed": 5, "steps": 2, "temperature": 1.0, "edit_threshold": 0.02}),
        json!({
            "template": "A fox [[8]]", "seed": 5, "steps": 2, "temperature": 1.0, "edit_threshold": 0.02,
            "delete_token": 300, "insert_token": 301
        }),
    ];
    for mut request in requests {
        let whole = server.post("/v1/canvas", &request).expect(200);
        request["stream"] = json!(true);
        let events = events(server.stream("/v1/canvas", &request));
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names[0], *names.last().unwrap()), ("opened", "done"));
        for result in whole["results"].as_array().unwrap() {
            let index = result["index"].as_u64().unwrap();
            let of = |wanted: &str| events.iter().find(|(name, event)| name == wanted && event["index"] == index);
            let finished = &of("finished").unwrap().1;
            assert_eq!(plain(&replay(&events, index)), plain(&finished["canvas"]["positions"]));
            assert_eq!(text(&finished["canvas"]["positions"]), finished["text"].as_str().unwrap());
            // Streamed or not, and whatever ran beside it, it is the same canvas.
            for key in ["text", "holes", "canvas", "usage", "seed", "finish_reason"] {
                assert_eq!(finished[key], result[key], "{key}");
            }
        }
    }
}

#[test]
fn what_is_pinned_stays_when_the_rest_is_renoised() {
    let server = Running::start();
    let first =
        server.post("/v1/canvas", &json!({"template": "Once upon a time", "max_tokens": 32, "seed": 3})).expect(200);
    let mut canvas = first["results"][0]["canvas"].clone();
    let positions = canvas["positions"].as_array_mut().unwrap();
    let written: Vec<usize> = (0..positions.len()).filter(|index| positions[*index]["state"] == "written").collect();
    let pinned = [written[1], written[4]];
    pinned.iter().for_each(|index| positions[*index]["state"] = json!("given"));
    let before = canvas["positions"].clone();
    let renoised = &written[..10];
    let request = json!({
        "canvas": canvas, "renoise": {"positions": renoised, "strength": 1.0}, "seed": 9, "variations": 2, "temperature": 1.0,
    });
    let edited = server.post("/v1/canvas", &request).expect(200);
    let mut changed = false;
    for result in edited["results"].as_array().unwrap() {
        let after = &result["canvas"]["positions"];
        for index in 0..before.as_array().unwrap().len() {
            let stays = pinned.contains(&index) || !renoised.contains(&index);
            if stays {
                assert_eq!(after[index]["token"], before[index]["token"], "{index}");
                assert_eq!(after[index]["state"], before[index]["state"], "{index}");
            } else {
                assert_eq!(after[index]["state"], "written");
                changed |= after[index]["token"] != before[index]["token"];
            }
        }
        assert_eq!(text(after), result["text"].as_str().unwrap());
    }
    assert!(changed, "nothing was drawn again");
    // A share of the positions is opened, and the same seed opens the same.
    let mut share = request.clone();
    (share["renoise"]["strength"], share["variations"]) = (json!(0.3), json!(1));
    let once = server.post("/v1/canvas", &share).expect(200);
    assert_eq!(once["results"][0]["usage"]["completion_tokens"], 2);
    assert_eq!(once["results"][0]["text"], server.post("/v1/canvas", &share).expect(200)["results"][0]["text"]);
}

#[test]
fn a_dropped_connection_goes_on_where_it_was() {
    let server = Running::start();
    let request = json!({"template": "Once upon a time", "max_tokens": 64, "seed": 3, "stream": true});
    let whole = events(server.stream("/v1/canvas", &request));
    let mut stream = server.stream("/v1/canvas", &request);
    let first: Vec<_> = (0..5).map(|_| stream.event().unwrap()).collect();
    drop(stream);
    let id = first[0].json()["id"].as_str().unwrap().to_owned();
    let last = first[4].id.clone().unwrap();
    let resumed = Call::get(&format!("/v1/canvas/{id}")).header("Last-Event-ID", &last).open(server.address());
    let rest = events(resumed);
    let joined: Vec<_> = first.iter().map(|event| (event.name.clone(), event.json())).chain(rest).collect();
    assert_eq!(joined.len(), whole.len());
    for ((name, event), (whole_name, whole_event)) in joined.iter().zip(&whole).skip(1) {
        assert_eq!(name, whole_name);
        let timeless = |event: &Value| {
            let mut event = event.clone();
            ["seconds", "queue_seconds"].into_iter().for_each(|key| event[key] = Value::Null);
            event
        };
        assert_eq!(timeless(event), timeless(whole_event));
    }
    // Another reader may begin at the beginning.
    assert_eq!(events(Call::get(&format!("/v1/canvas/{id}")).open(server.address())).len(), whole.len());
    server.get("/v1/canvas/canvas-0").expect(404);
    let bad = Call::get(&format!("/v1/canvas/{id}")).header("Last-Event-ID", "x").send(server.address());
    assert_eq!(bad.expect(400)["error"]["param"], "Last-Event-ID");
}

#[test]
fn a_streamed_canvas_can_be_cancelled() {
    let server = Running::start();
    // One position at a time takes long enough.
    let request =
        json!({"template": "Once [[200]]", "seed": 3, "stream": true, "steps": 1000, "policy": "first-hitting"});
    let mut stream = server.stream("/v1/canvas", &request);
    let id = stream.event().unwrap().json()["id"].as_str().unwrap().to_owned();
    let cancelled = Call::new("DELETE", &format!("/v1/canvas/{id}")).send(server.address());
    assert_eq!(cancelled.status, 204);
    let events = events(stream);
    let finished = &events.iter().find(|(name, _)| name == "finished").unwrap().1;
    assert_eq!(finished["finish_reason"], "cancelled");
    assert_eq!(events.last().unwrap().0, "done");
}

#[test]
fn impossible_canvases_are_refused_by_field() {
    let server = Running::start();
    let given = json!({"state": "given", "token": 5});
    let cases = [
        (json!({}), "template"),
        (json!({"template": "a", "canvas": {"positions": []}}), "template"),
        (json!({"template": "a [[", "seed": 1}), "template"),
        (json!({"template": "a [[2]]", "renoise": {"positions": [0], "strength": 1.0}}), "renoise"),
        (json!({"canvas": {"positions": [given]}}), "canvas"),
        (json!({"canvas": {"positions": [{"state": "given"}, {"state": "open"}]}}), "canvas.positions[0].token"),
        (
            json!({"canvas": {"positions": [{"state": "open"}], "spans": [{"start": 0, "end": 2, "approximate": true}]}}),
            "canvas.spans[0]",
        ),
        (
            json!({"canvas": {"positions": [given]}, "renoise": {"positions": [0], "strength": 1.0}}),
            "renoise.positions",
        ),
        (
            json!({"canvas": {"positions": [given]}, "renoise": {"positions": [3], "strength": 1.0}}),
            "renoise.positions",
        ),
        (json!({"canvas": {"positions": [given]}, "renoise": {"positions": [0], "strength": 0.0}}), "renoise.strength"),
        (json!({"template": "a", "variations": 17}), "variations"),
        (json!({"template": "a", "temperature": -1.0}), "temperature"),
        (json!({"template": "a", "tempo": 1}), "tempo"),
        (json!({"template": "a", "max_tokens": 100000}), "max_tokens"),
    ];
    for (request, param) in cases {
        assert_eq!(server.post("/v1/canvas", &request).expect(400)["error"]["param"], param, "{request}");
    }
}

#[test]
fn a_position_shows_what_else_it_could_hold() {
    let server = Running::start();
    let first = server
        .post("/v1/canvas", &json!({"template": "Once upon a time", "max_tokens": 8, "seed": 3, "alternatives": 3}));
    let canvas = first.expect(200)["results"][0]["canvas"].clone();
    let written = canvas["positions"].as_array().unwrap().iter().position(|place| place["state"] == "written").unwrap();
    assert_eq!(canvas["positions"][written]["alternatives"].as_array().unwrap().len(), 3);
    let request = json!({"canvas": canvas, "positions": [written, 0], "count": 5});
    let answer = server.post("/v1/canvas/alternatives", &request).expect(200);
    for (found, position) in answer["positions"].as_array().unwrap().iter().zip([written, 0]) {
        assert_eq!(found["position"], position);
        let probabilities: Vec<f64> =
            found["alternatives"].as_array().unwrap().iter().map(|one| one["probability"].as_f64().unwrap()).collect();
        assert!(
            probabilities.len() == 5
                && probabilities.is_sorted_by(|a, b| a >= b)
                && probabilities.iter().sum::<f64>() <= 1.0
        );
        assert!(found["entropy"].as_f64().unwrap() > 0.0);
    }
    let beyond = json!({"canvas": canvas, "positions": [1000]});
    assert_eq!(server.post("/v1/canvas/alternatives", &beyond).expect(400)["error"]["param"], "positions");
}
