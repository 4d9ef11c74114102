//! A headless browser: the driver's process and one session.

use crate::support::Call;
use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than any wait of these tests; it ends a test that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keys as WebDriver encodes them.
pub(super) mod key {
    pub(crate) const TAB: char = '\u{E004}';
    pub(crate) const ENTER: char = '\u{E007}';
    pub(crate) const SHIFT: char = '\u{E008}';
    pub(crate) const CONTROL: char = '\u{E009}';
    pub(crate) const ESCAPE: char = '\u{E00C}';
    pub(crate) const HOME: char = '\u{E011}';
    pub(crate) const LEFT: char = '\u{E012}';
    pub(crate) const RIGHT: char = '\u{E014}';
}

/// A session, the driver that runs it, and the folder of the browser.
pub(super) struct Browser {
    client: Client,
    driver: Driver,
    _profile: tempfile::TempDir,
}

/// The driver's process, which ends with this value.
struct Driver {
    process: Child,
    port: u16,
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Driver {
    /// `None` where there is no driver.
    fn start() -> Option<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok());
        Some(Self { process, port: port.expect("the driver reports its port") })
    }
}

impl Browser {
    /// Starts a browser that asks for reduced motion, so that a page follows the server without a pace of its own.
    /// `None` where there is none.
    pub(super) async fn start() -> Option<Self> {
        let driver = Driver::start()?;
        let profile = tempfile::tempdir().expect("a folder");
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--force-prefers-reduced-motion",
            "--window-size=1440,900",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let capabilities = json!({
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(Capabilities::from_iter(capabilities))
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .expect("a session");
        Some(Self { client, driver, _profile: profile })
    }

    pub(super) async fn close(self) {
        self.client.close().await.expect("the session ends");
    }

    pub(super) async fn open(&self, address: &str) {
        self.client.goto(address).await.expect("the page opens");
    }

    pub(super) async fn resize(&self, width: u32, height: u32) {
        self.client.set_window_size(width, height).await.expect("resized");
    }

    /// What a script returns.
    pub(super) async fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap_or_else(|error| panic!("{error}\n{script}"))
    }

    /// What the promise of an expression resolves to.
    pub(super) async fn promise(&self, expression: &str, arguments: Vec<Value>) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; ({expression}).then(done, error => done({{ failed: String(error) }}));"
        );
        let value =
            self.client.execute_async(&script, arguments).await.unwrap_or_else(|error| panic!("{error}\n{script}"));
        assert!(value.get("failed").is_none(), "{value}\n{expression}");
        value
    }

    /// Waits until an expression holds.
    pub(super) async fn until(&self, expression: &str) {
        let since = Instant::now();
        while self.script(&format!("return !!({expression})"), vec![]).await != json!(true) {
            assert!(since.elapsed() < PATIENCE, "never: {expression}\n{}", self.text("#print").await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Clicks with the pointer, as a reader does: it fails where something covers the element.
    pub(super) async fn click(&self, selector: &str) {
        let element =
            self.client.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
        element.click().await.unwrap_or_else(|error| panic!("{selector}: {error}"));
    }

    /// Types keys to what has the focus.
    pub(super) async fn keys(&self, keys: impl IntoIterator<Item = char>) {
        let focused = self.client.active_element().await.expect("something has the focus");
        focused.send_keys(&String::from_iter(keys)).await.expect("keys arrive");
    }

    /// Text as it is shown.
    pub(super) async fn text(&self, selector: &str) -> String {
        let element =
            self.client.find(Locator::Css(selector)).await.unwrap_or_else(|error| panic!("{selector}: {error}"));
        element.text().await.expect("a text")
    }

    /// What the browser complained of since the last time.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let session = self.client.session_id().await.expect("an answer").expect("a session");
        // What is no part of the standard is requested beside the session.
        let request = Call::post(&format!("/session/{session}/se/log"), &json!({ "type": "browser" }));
        let log = request.send(SocketAddr::from(([127, 0, 0, 1], self.driver.port))).expect(200);
        let entries = log["value"].as_array().expect("a list");
        entries
            .iter()
            .filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING")
            .map(|entry| entry["message"].to_string())
            .collect()
    }
}
