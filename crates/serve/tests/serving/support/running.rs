//! A server that runs as long as the test.

use super::{Answer, Call, Stream};
use aquatint::runtime::{Runtime, RuntimeSettings};
use aquatint_serve::{AdapterChoice, ModelSource, ServeError, ServeEvent, ServeSettings, Server};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

/// A diffusion model of three million parameters that was trained for a minute.
pub(crate) fn fixture() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/tests/cli/fixtures/tales-3m").to_owned()
}

/// The settings that tests begin with: the small model by the name `tales`, on a free port.
pub(crate) fn settings() -> ServeSettings {
    ServeSettings {
        port: 0,
        ..ServeSettings::new(vec![ModelSource {
            name: "tales".to_owned(),
            path: fixture(),
            adapter: AdapterChoice::First,
        }])
    }
}

#[derive(Default)]
struct Heard {
    events: Mutex<Vec<ServeEvent>>,
    more: Condvar,
}

/// A server in this process. It is stopped when it is dropped.
pub(crate) struct Running {
    server: Option<Server>,
    heard: Arc<Heard>,
}

impl Running {
    /// A server with the small model, which is ready.
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut ServeSettings)) -> Self {
        let mut settings = settings();
        change(&mut settings);
        let running = Self::begin(settings);
        running.wait_for(|event| matches!(event, ServeEvent::Ready { .. }));
        running
    }

    /// A server that listens and may not be ready.
    pub(crate) fn begin(settings: ServeSettings) -> Self {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| Runtime::new(&RuntimeSettings::default()).unwrap());
        let heard = Arc::new(Heard::default());
        let hears = heard.clone();
        let events = Arc::new(move |event| {
            hears.events.lock().unwrap().push(event);
            hears.more.notify_all();
        });
        Self { server: Some(Server::start(settings, runtime.clone(), events).unwrap()), heard }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server().address()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&Call::get(path))
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(&Call::post(path, body))
    }

    pub(crate) fn send(&self, call: &Call) -> Answer {
        call.send(self.address())
    }

    /// Posts, and reads the answer as it comes.
    pub(crate) fn stream(&self, path: &str, body: &Value) -> Stream {
        Call::post(path, body).open(self.address())
    }

    /// What the server reported so far.
    pub(crate) fn events(&self) -> Vec<ServeEvent> {
        self.heard.events.lock().unwrap().clone()
    }

    /// Waits until the server reports such an event.
    #[track_caller]
    pub(crate) fn wait_for(&self, matches: impl Fn(&ServeEvent) -> bool) -> ServeEvent {
        let events = self.heard.events.lock().unwrap();
        let found = |events: &[ServeEvent]| events.iter().find(|event| matches(event)).cloned();
        let wait =
            self.heard.more.wait_timeout_while(events, Duration::from_secs(60), |events| found(events).is_none());
        let (events, _) = wait.unwrap();
        found(&events).unwrap_or_else(|| panic!("it never came; what came is {events:?}"))
    }

    /// Asks it to stop, without waiting.
    pub(crate) fn ask_to_stop(&self) {
        self.server().stop();
    }

    /// Stops it and waits for its end.
    pub(crate) fn stop(mut self) -> Result<(), ServeError> {
        self.server().stop();
        self.server.take().unwrap().wait()
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Result<(), ServeError> {
        self.server.take().unwrap().wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
            let ended = server.wait();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}
