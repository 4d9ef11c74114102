//! What the server refuses, and what clients that mean no good cannot do.

use crate::support::{Answer, Call, Running, settings};
use aquatint_serve::{ServeError, ServeEvent};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn completion() -> Value {
    json!({ "prompt": "Once upon a time", "max_tokens": 4, "steps": 2, "seed": 1 })
}

fn code(answer: &Answer) -> Value {
    answer.json()["error"]["code"].clone()
}

#[test]
fn a_foreign_name_or_page_is_not_let_in() {
    let running = Running::with(|settings| {
        settings.allowed_hosts = vec!["texts.example".to_owned()];
        settings.cors_origins = vec!["https://page.example".to_owned()];
    });
    let post = || Call::post("/v1/completions", &completion());
    for host in ["localhost:1", "127.0.0.1", "[::1]:8642", "texts.example"] {
        running.send(&post().header("Host", host)).expect(200);
    }
    let foreign = running.send(&post().header("Host", "rebound.example"));
    assert_eq!((foreign.status, code(&foreign)), (403, json!("host_not_allowed")));
    assert_eq!(running.send(&Call::get("/health").header("Host", "rebound.example")).status, 403);

    let own = format!("http://{}", running.address());
    let answer = running.send(&post().header("Origin", &own));
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    for origin in ["https://elsewhere.example", "null", "https://page.example.evil", &format!("{own}1"), "file://"] {
        let answer = running.send(&post().header("Origin", origin));
        assert_eq!((answer.status, code(&answer)), (403, json!("origin_not_allowed")), "{origin}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let answer = running.send(&post().header("Origin", "https://page.example"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://page.example"));
    assert_eq!(answer.header("vary"), Some("origin"));

    // What a form or a script can send without asking first.
    let plain =
        Call::new("POST", "/v1/completions").header("Content-Type", "text/plain").body(completion().to_string());
    assert_eq!(running.send(&plain.clone().header("Origin", "https://page.example")).status, 415);
    // A program may leave it out, as examples with curl do.
    running.send(&plain).expect(200);

    let preflight = |origin: &str| {
        let call = Call::new("OPTIONS", "/v1/completions").header("Origin", origin);
        running.send(&call.header("Access-Control-Request-Method", "POST"))
    };
    let answer = preflight("https://page.example");
    assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, Some("GET, POST, DELETE")));
    assert_eq!(preflight("https://elsewhere.example").status, 403);
}

#[test]
fn keys_are_needed_everywhere_but_on_open_paths() {
    let running = Running::with(|settings| settings.api_keys = vec!["first".to_owned(), "second".to_owned()]);
    for (path, status) in [
        ("/health", 200),
        ("/props", 200),
        ("/v1/models", 401),
        ("/metrics", 401),
        ("/openapi.json", 401),
        ("/nothing", 401),
        ("/v1/canvas/canvas-1", 401),
    ] {
        assert_eq!(running.get(path).status, status, "{path}");
    }
    let answer = running.post("/v1/completions", &completion());
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(answer.json()["error"]["type"], "authentication_error");
    // The key is asked for before a body is read.
    assert_eq!(running.send(&Call::new("POST", "/v1/completions").body("garbage")).status, 401);
    for wrong in ["Bearer third", "Bearer ", "first", "Bearer First", "Basic first"] {
        let call = Call::post("/v1/completions", &completion()).header("Authorization", wrong);
        assert_eq!(running.send(&call).status, 401, "{wrong}");
    }
    for (name, value) in [("Authorization", "Bearer second"), ("x-api-key", "first")] {
        running.send(&Call::post("/v1/completions", &completion()).header(name, value)).expect(200);
    }
    for scheme in ["bearer", "BEARER"] {
        let call = Call::post("/v1/completions", &completion()).header("Authorization", &format!("{scheme} first"));
        running.send(&call).expect(200);
    }
    let refused = running.post("/api/generate", &json!({ "prompt": "x" })).expect(401);
    assert!(refused["error"].is_string(), "{refused}");
}

#[test]
fn every_answer_has_the_headers_of_a_careful_server() {
    let running = Running::start();
    for path in ["/health", "/nothing", "/v1/models"] {
        let answer = running.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[test]
fn what_is_no_request_is_refused_and_the_server_goes_on() {
    let running = Running::with(|settings| settings.body_limit = 1 << 16);
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let bodies: Vec<Vec<u8>> = [
        "",
        "{",
        "null",
        "[]",
        "42",
        "\"prompt\"",
        "{\"prompt\":NaN}",
        "{\"prompt\":\"\\ud800\"}",
        "{\"seed\":1e999}",
        "{\"seed\":-1}",
        "{\"seed\":18446744073709551616}",
        "{\"max_tokens\":1e30}",
        "{\"max_tokens\":0}",
        "{\"max_tokens\":18446744073709551615}",
        "{\"steps\":18446744073709551615}",
        "{\"temperature\":-1}",
        "{\"temperature\":1e308}",
        "{\"top_p\":2}",
        "{\"stop\":\"\"}",
        "{\"n\":17}",
        "{\"correctors\":4000000000}",
        "{\"prompt\":{}}",
        "{\"block_length\":0}",
        "{\"policy\":\"\\u0000\"}",
        "{\"model\":[]}",
        "{\"messages\":[]}",
    ]
    .into_iter()
    .map(|body| body.as_bytes().to_vec())
    .chain([
        vec![0xFF, 0xFE, 0x00],
        deep(100).into_bytes(),
        deep(20_000).into_bytes(),
        format!("{{\"prompt\":{}}}", deep(20_000)).into_bytes(),
        format!("{{{}}}", vec!["\"stop\":\"a\""; 500].join(",")).replacen("stop", "stopp", 1).into_bytes(),
    ])
    .collect();
    for path in [
        "/v1/completions",
        "/v1/chat/completions",
        "/v1/canvas",
        "/api/chat",
        "/api/generate",
        "/tokenize",
        "/detokenize",
    ] {
        for body in &bodies {
            let call = Call::new("POST", path).header("Content-Type", "application/json").body(body.clone());
            let answer = running.send(&call);
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            // Ollama's clients load a model by a request with nothing to write.
            let loads = path == "/api/chat" && shown == "{\"messages\":[]}";
            assert_eq!(answer.status, if loads { 200 } else { 400 }, "{path} {shown}: {}", answer.text());
            assert!(loads || answer.json()["error"].is_object() != path.starts_with("/api/"), "{}", answer.text());
        }
        let call = Call::new("POST", path).header("Content-Type", "application/json").body(vec![b' '; 1 << 17]);
        assert_eq!(running.send(&call).status, 413, "{path}");
    }
    assert_eq!(running.get("/v1/models/%FF").status, 400);
    assert_eq!(running.send(&Call::new("PATCH", "/v1/models")).status, 405);
    assert_eq!(running.get("/v1/models/../../etc/passwd").status, 404);
    assert_eq!(running.get("/health").status, 200);
}

#[test]
fn a_request_reads_no_file() {
    let running = Running::start();
    let body = json!({ "template": "A [[picture:/etc/passwd]] and [[file:/etc/passwd]] [[2]]", "seed": 1, "steps": 1 });
    let answer = running.post("/v1/canvas", &body);
    assert!(!answer.text().contains("root:"), "{}", answer.text());
    // A path is a name that no model has.
    for name in ["/etc", "../models", &crate::support::fixture()] {
        running.post("/v1/completions", &json!({ "model": name, "prompt": "x", "max_tokens": 1 })).expect(404);
        running.post("/api/show", &json!({ "model": name })).expect(404);
    }
}

#[test]
fn texts_are_reported_only_on_request() {
    let body = json!({ "prompt": "The secret of", "max_tokens": 4, "steps": 1, "seed": 1 });
    let quiet = Running::start();
    quiet.post("/v1/completions", &body).expect(200);
    let answered = quiet.wait_for(|event| matches!(event, ServeEvent::Answered { .. }));
    assert!(matches!(answered, ServeEvent::Answered { status: 200, ref path, .. } if path == "/v1/completions"));
    assert!(!format!("{:?}", quiet.events()).contains("secret"));
    let loud = Running::with(|settings| settings.log_prompts = true);
    loud.post("/v1/completions", &body).expect(200);
    assert!(
        loud.events().contains(&ServeEvent::Prompt { text: "The secret of[[4]]".to_owned() }),
        "{:?}",
        loud.events()
    );
}

#[test]
fn clients_that_say_nothing_hold_nobody_up() {
    let running = Running::start();
    let connect = || TcpStream::connect(running.address());
    let mut idle: Vec<TcpStream> = Vec::new();
    while let (true, Ok(connection)) = (idle.len() < 1000, connect()) {
        idle.push(connection);
    }
    // Each of some has sent half of a head, and one half of a body.
    for connection in &mut idle[..20] {
        connection.write_all(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    }
    let half = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"prompt\":";
    idle[20].write_all(half).unwrap();
    running.post("/v1/completions", &completion()).expect(200);
    drop(idle);
    running.get("/health").expect(200);
}

#[test]
fn a_head_without_end_is_cut_off() {
    let running = Running::start();
    let mut connection = TcpStream::connect(running.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connection.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n").unwrap();
    let line = format!("X-More: {}\r\n", "x".repeat(1000));
    // It closes the connection at some point.
    let sent = (0..1000).take_while(|_| connection.write_all(line.as_bytes()).is_ok()).count();
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(sent < 1000 || answer.starts_with("HTTP/1.1 431"), "{answer:?}");
    assert!(!answer.contains(" 200 "));
    running.get("/health").expect(200);
}

#[test]
fn impossible_settings_are_refused_by_name() {
    let runtime = aquatint::runtime::Runtime::new(&aquatint::runtime::RuntimeSettings::default()).unwrap();
    let refused = |change: fn(&mut aquatint_serve::ServeSettings)| {
        let mut settings = settings();
        change(&mut settings);
        let error = aquatint_serve::Server::start(settings, runtime.clone(), std::sync::Arc::new(|_| {})).unwrap_err();
        match error {
            ServeError::Setting { parameter, .. } => parameter,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(|settings| settings.models.clear()), "models");
    assert_eq!(refused(|settings| settings.api_keys.push(String::new())), "api_key");
    assert_eq!(refused(|settings| settings.cors_origins.push("*".to_owned())), "cors_origin");
    assert_eq!(refused(|settings| settings.cors_origins.push("page.example".to_owned())), "cors_origin");
    assert_eq!(refused(|settings| settings.allowed_hosts.push("https://texts.example".to_owned())), "allowed_host");
    assert_eq!(refused(|settings| settings.queue = 0), "queue");
    assert_eq!(refused(|settings| settings.canvas_limit = 0), "canvas_limit");
    assert_eq!(refused(|settings| settings.body_limit = 0), "body_limit");
    assert_eq!(refused(|settings| settings.time_limit = Duration::ZERO), "time_limit");
    assert_eq!(refused(|settings| settings.time_limit = Duration::MAX), "time_limit");
    assert_eq!(refused(|settings| settings.grace = Duration::MAX), "grace");
}
