//! What a reader does at the page, and what is to be found on its sheet.

use super::browser::Browser;
use serde_json::{Value, json};

/// The page in a browser.
pub(super) struct Desk<'a> {
    pub(super) browser: &'a Browser,
}

/// A position as the sheet shows it: its state, and its text without blanks.
pub(super) type Shown = (String, String);

impl<'a> Desk<'a> {
    /// Opens the page with short settings and waits until it has the models.
    pub(super) async fn open(browser: &'a Browser, address: &str) -> Self {
        browser.open(address).await;
        browser.until("document.getElementById('go').disabled === false").await;
        // What is sent is noted, so that a test can send the same.
        browser
            .script(
                "window.sent = []; const fetched = window.fetch;
                 window.fetch = (path, options) => { window.sent.push([path, options?.body ?? null]); return fetched(path, options); };",
                vec![],
            )
            .await;
        let desk = Self { browser };
        desk.set("setting-max_tokens", 24).await;
        desk.set("setting-block_length", 12).await;
        desk.set("setting-steps", 12).await;
        desk.set("seed", 7).await;
        desk
    }

    /// Sets a field or a slider, as moving it does.
    pub(super) async fn set(&self, id: &str, value: impl Into<Value>) {
        let script = "const field = document.getElementById(arguments[0]); field.value = arguments[1];
                      field.dispatchEvent(new Event('input', { bubbles: true }));
                      field.dispatchEvent(new Event('change', { bubbles: true }));";
        self.browser.script(script, vec![json!(id), value.into()]).await;
    }

    /// Chooses a mode.
    pub(super) async fn mode(&self, mode: &str) {
        self.browser.click(&format!(".modes input[value={mode}]")).await;
    }

    /// Waits until the run is over and its last frame is shown.
    pub(super) async fn settled(&self) {
        let over = "!document.getElementById('go').hidden && document.getElementById('play').textContent === 'Play'
                    && document.getElementById('scrubber').value === document.getElementById('scrubber').max";
        self.browser.until(over).await;
        let error = self.browser.script("return document.getElementById('error').textContent", vec![]).await;
        assert_eq!(error, "", "the page shows an error");
    }

    /// Presses the button of the mode and waits until the sheet has settled.
    pub(super) async fn write(&self) {
        self.browser.click("#go").await;
        self.settled().await;
    }

    /// The last frame.
    pub(super) async fn last(&self) -> u64 {
        let last = self.browser.script("return Number(document.getElementById('scrubber').max)", vec![]).await;
        last.as_u64().expect("a number")
    }

    /// All positions of the sheet.
    pub(super) async fn positions(&self) -> Vec<Shown> {
        let script = "return [...document.querySelectorAll('#sheets [data-position]')].map(piece =>
            [piece.dataset.state, piece.closest('[hidden]') || piece.classList.contains('blank') ? '' : piece.textContent.trim()])";
        serde_json::from_value(self.browser.script(script, vec![]).await).expect("pairs")
    }

    /// A written word with letters, the `nth` from the beginning: its position.
    pub(super) async fn written_word(&self, nth: usize) -> usize {
        let positions = self.positions().await;
        let words = positions.iter().enumerate().filter(|(_, (state, text))| {
            state == "written" && text.chars().count() > 1 && text.chars().all(char::is_alphabetic)
        });
        words.map(|(position, _)| position).nth(nth).unwrap_or_else(|| panic!("too few words: {positions:?}"))
    }

    /// Clicks a word; its panel opens and has its list.
    pub(super) async fn pick(&self, position: usize) {
        self.browser.click(&format!("[data-position='{position}']")).await;
        self.browser.until("!document.getElementById('panel').hidden").await;
        self.browser.until("document.getElementById('panel-list').dataset.state === 'ready'").await;
    }

    /// The body of the last request to a path.
    pub(super) async fn sent(&self, path: &str) -> Value {
        let script = "return window.sent.filter(([path]) => path === arguments[0]).at(-1)?.[1] ?? null";
        let body = self.browser.script(script, vec![json!(path)]).await;
        serde_json::from_str(body.as_str().unwrap_or_else(|| panic!("nothing was sent to {path}"))).expect("JSON")
    }

    /// What the server says to a request of a canvas: the names and the data of its events.
    pub(super) async fn events(&self, body: &Value) -> Vec<(String, Value)> {
        let expression = "fetch('/v1/canvas', { method: 'POST', headers: { 'Content-Type': 'application/json' },
                          body: arguments[0] }).then(response => response.text())";
        let stream = self.browser.promise(expression, vec![json!(body.to_string())]).await;
        let stream = stream.as_str().expect("a text");
        let field = |block: &str, name: &str| {
            block.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim_start().to_owned()))
        };
        let events = stream.split("\n\n").filter_map(|block| {
            let data = serde_json::from_str(&field(block, "data")?).expect("JSON");
            Some((field(block, "event")?, data))
        });
        events.collect()
    }
}

/// The canvas after each step, replayed from the events of the server.
pub(super) fn replay(events: &[(String, Value)]) -> Vec<Vec<Shown>> {
    let text = |value: &Value| value.as_str().expect("a text").trim().to_owned();
    let index = |value: &Value| value.as_u64().and_then(|index| usize::try_from(index).ok()).expect("an index");
    let mut frames: Vec<Vec<Shown>> = Vec::new();
    for (name, data) in events {
        if name == "started" {
            let positions = data["canvas"]["positions"].as_array().expect("a list");
            let shown = positions.iter().map(|position| {
                let state = text(&position["state"]);
                let text = position.get("text").filter(|_| state != "open").map(text).unwrap_or_default();
                (state, text)
            });
            frames.push(shown.collect());
        } else if name == "step" {
            let mut frame = frames.last().expect("started").clone();
            for change in data["changes"].as_array().expect("a list") {
                let state = if change["kind"] == "committed" { "written" } else { "open" };
                frame[index(&change["position"])].0 = state.to_owned();
            }
            for (position, shown) in data["texts"].as_object().expect("an object") {
                frame[position.parse::<usize>().expect("a position")].1 = text(shown);
            }
            for position in data["closed"].as_array().expect("a list") {
                frame[index(position)] = ("closed".to_owned(), String::new());
            }
            frames.push(frame);
        }
    }
    frames
}
