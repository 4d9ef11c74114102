//! OpenAI's protocol.

use crate::support::{Running, Stream};
use serde_json::{Value, json};

/// The chunks of a stream, which ends in `[DONE]`.
fn chunks(mut stream: Stream) -> Vec<(String, Value)> {
    let mut chunks = Vec::new();
    while let Some(event) = stream.event() {
        if event.data == "[DONE]" {
            assert_eq!(stream.event(), None);
            return chunks;
        }
        chunks.push((event.name.clone(), event.json()));
    }
    panic!("the stream has no end: {chunks:?}");
}

fn joined(chunks: &[(String, Value)], index: u64, path: &str) -> String {
    let messages = chunks.iter().filter(|(name, _)| name == "message");
    let choices = messages.flat_map(|(_, chunk)| chunk["choices"].as_array().unwrap().clone());
    choices
        .filter(|choice| choice["index"] == index)
        .filter_map(|choice| choice.pointer(path)?.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_stream_is_the_text_in_parts() {
    let server = Running::start();
    let asks = [
        json!({"prompt": "Once upon a time", "max_tokens": 40, "seed": 3}),
        json!({"prompt": "Once upon a time ", "max_tokens": 24, "seed": 4, "n": 3, "temperature": 1.0}),
        json!({"prompt": "Tom saw a", "suffix": " and ran home.", "max_tokens": 12, "seed": 5}),
        json!({"prompt": "Tom", "max_tokens": 40, "seed": 6, "steps": 20, "block_length": 40, "remasking": "rescale:0.3"}),
        json!({"prompt": "Tom", "max_tokens": 40, "seed": 6, "stop": [" the", "."]}),
        json!({"prompt": "Tom", "max_tokens": 8, "seed": 6, "echo": true}),
    ];
    for mut request in asks {
        let whole = server.post("/v1/completions", &request).expect(200);
        request["stream"] = json!(true);
        request["stream_options"] = json!({"include_usage": true, "denoising": true});
        let chunks = chunks(server.stream("/v1/completions", &request));
        for choice in whole["choices"].as_array().unwrap() {
            let index = choice["index"].as_u64().unwrap();
            assert_eq!(joined(&chunks, index, "/text"), choice["text"].as_str().unwrap(), "{request}");
            assert_eq!(joined(&chunks, index, "/finish_reason"), choice["finish_reason"].as_str().unwrap());
        }
        let usage = &chunks.last().unwrap().1["usage"];
        // Behind a stop string more or less work may have been done.
        let counted = if request["stop"].is_null() { "" } else { "/completion_tokens" };
        assert_eq!(usage.pointer(counted), whole["usage"].pointer(counted), "{request}");
        assert!(chunks.iter().any(|(name, event)| name == "denoising" && event["changes"].is_array()));
    }
}

#[test]
fn a_conversation_is_answered_in_whole_and_in_parts() {
    let server = Running::start();
    let mut request = json!({
        "model": "tales", "seed": 3, "max_completion_tokens": 24, "logprobs": true,
        "messages": [{"role": "system", "content": "A tale."}, {"role": "user", "content": [{"type": "text", "text": "Once"}]}],
    });
    let whole = server.post("/v1/chat/completions", &request).expect(200);
    let message = &whole["choices"][0]["message"];
    assert_eq!((&message["role"], whole["object"].as_str()), (&json!("assistant"), Some("chat.completion")));
    let tokens = whole["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(tokens.len() as u64, whole["usage"]["completion_tokens"].as_u64().unwrap());
    assert!(tokens.iter().all(|token| token["logprob"].as_f64().unwrap() <= 0.0));
    request["stream"] = json!(true);
    let chunks = chunks(server.stream("/v1/chat/completions", &request));
    assert_eq!(chunks[0].1["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(joined(&chunks, 0, "/delta/content"), message["content"].as_str().unwrap());
    // Without `denoising` there is nothing that an ordinary client does not know.
    assert!(chunks.iter().all(|(name, _)| name == "message"));
}

#[test]
fn a_stop_string_ends_the_text_and_the_work() {
    let server = Running::start();
    let plain = json!({"prompt": "Once upon a time", "max_tokens": 64, "seed": 3});
    let whole = server.post("/v1/completions", &plain).expect(200);
    let text = whole["choices"][0]["text"].as_str().unwrap();
    let word = text.split(' ').find(|word| word.len() > 3).unwrap();
    let mut request = plain.clone();
    request["stop"] = json!(word);
    let stopped = server.post("/v1/completions", &request).expect(200);
    assert_eq!(stopped["choices"][0]["text"], text[..text.find(word).unwrap()]);
    assert_eq!(stopped["choices"][0]["finish_reason"], "stop");
    let passes = |answer: &Value| answer["usage"]["forward_passes"].as_u64().unwrap();
    assert!(passes(&stopped) < passes(&whole));
}

#[test]
fn log_probabilities_are_of_every_token_and_say_where_it_stands() {
    let server = Running::start();
    let mut short = 0;
    for (number, prompt) in ["Once upon a time", "Once upon a time there was a girl. "].into_iter().enumerate() {
        for seed in 0..24 {
            let echo = seed % 2 == 0;
            let request = json!({
                "prompt": prompt, "max_tokens": 6, "steps": 3, "seed": seed, "logprobs": 1, "echo": echo, "temperature": 1.0,
            });
            let answer = server.post("/v1/completions", &request).expect(200);
            let choice = &answer["choices"][0];
            let (text, logprobs) = (choice["text"].as_str().unwrap(), &choice["logprobs"]);
            let tokens: Vec<&str> =
                logprobs["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
            let starts = logprobs["text_offset"].as_array().unwrap().iter().map(|at| at.as_u64().unwrap() as usize);
            let starts: Vec<usize> = starts.collect();
            assert_eq!(tokens.len() as u64, answer["usage"]["completion_tokens"].as_u64().unwrap(), "{answer}");
            assert_eq!(starts[0], if echo { prompt.chars().count() } else { 0 });
            let characters: Vec<char> = text.chars().collect();
            let ends = starts.iter().skip(1).copied().chain([characters.len()]);
            for ((index, token), (start, end)) in tokens.iter().enumerate().zip(starts.iter().copied().zip(ends)) {
                let own: String = characters[start..end].iter().collect();
                // The blank in front of the first one may be the prompt's.
                let shown = if index == 0 && number == 1 { token.strip_prefix(' ').unwrap_or(token) } else { token };
                assert!(own == shown || token.contains("<0x"), "{own:?} {token:?}: {answer}");
            }
            short += usize::from(number == 1 && tokens.last().is_some_and(|token| token.len() == 1));
        }
    }
    assert!(short > 0, "some end in a token of one byte");
}

#[test]
fn tokens_are_given_as_they_are() {
    let server = Running::start();
    let answer =
        server.post("/v1/completions", &json!({"prompt": [450, 301], "max_tokens": 4, "seed": 1, "echo": true}));
    assert_eq!(answer.expect(200)["usage"]["prompt_tokens"], 2);
    let beyond = server.post("/v1/completions", &json!({"prompt": [4_000_000], "max_tokens": 4})).expect(400);
    assert!(beyond["error"]["message"].as_str().unwrap().contains("vocabulary"), "{beyond}");
}

#[test]
fn what_cannot_be_done_is_refused_by_field() {
    let server = Running::start();
    let completion = |more: Value| {
        let mut request = json!({"prompt": "a", "max_tokens": 4});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/completions", request)
    };
    let chat = |more: Value| {
        let mut request = json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 4});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("/v1/chat/completions", request)
    };
    let cases = [
        (completion(json!({"best_of": 3})), 400, "best_of"),
        (completion(json!({"n": 0})), 400, "n"),
        (completion(json!({"stop": ""})), 400, "stop"),
        (completion(json!({"logprobs": 21})), 400, "logprobs"),
        (completion(json!({"max_tokens": 0})), 400, "max_tokens"),
        (completion(json!({"temperature": "hot"})), 400, "temperature"),
        (completion(json!({"policy": "best"})), 400, "policy"),
        (completion(json!({"prompt": ["a", "b"]})), 400, "prompt"),
        (completion(json!({"model": "none"})), 404, "model"),
        (completion(json!({"functions": []})), 400, "functions"),
        (completion(json!({"stream_options": {"include_usage": true}})), 400, "stream_options"),
        (chat(json!({"stream_options": {"denoising": true}, "stream": false})), 400, "stream_options"),
        (chat(json!({"messages": []})), 400, "messages"),
        (chat(json!({"store": true})), 400, "store"),
        (chat(json!({"top_logprobs": 3})), 400, "top_logprobs"),
        (chat(json!({"max_completion_tokens": 5})), 400, "max_tokens"),
        (
            chat(json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})),
            400,
            "messages[0].content[0].image_url",
        ),
        (
            chat(json!({"tools": [{"type": "function", "function": {"name": "a"}}], "tool_choice": "always"})),
            400,
            "tool_choice",
        ),
        (chat(json!({"tool_choice": "required"})), 400, "tool_choice"),
        (
            chat(json!({
                "tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "none"}}}],
                "tool_choice": "required",
            })),
            400,
            "tools",
        ),
    ];
    for ((path, request), status, param) in cases {
        assert_eq!(server.post(path, &request).expect(status)["error"]["param"], param, "{request}");
    }
    let embeddings = server.post("/v1/embeddings", &json!({"input": "a"})).expect(400);
    assert_eq!(embeddings["error"]["code"], "unsupported_endpoint");
}
