//! The server: listens, hands connections to the router, and ends in an orderly way.

use crate::app::{App, Shared, router};
use crate::blocking::BlockingPool;
use crate::canvas::FollowedCanvases;
use crate::error::ServeError;
use crate::event::ServeEvent;
use crate::metrics::Metrics;
use crate::models::{Models, Trust};
use crate::scheduler::Scheduler;
use crate::{Events, ServeSettings, connection};
use aquatint::runtime::{self, Runtime};
use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// How long answers may take to be sent after the last one is ready.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// The longest time that a setting may give: a moment so far ahead has to exist.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 1024;
/// Bytes for models where the machine does not say what it has.
const MODEL_MEMORY: u64 = 8 << 30;

/// A server that is running.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Server {
    /// Listens, and serves from threads of its own. [`ServeEvent::Ready`] comes once the first model is loaded.
    ///
    /// # Errors
    /// When it cannot listen there, or a setting is impossible.
    pub fn start(settings: ServeSettings, runtime: Runtime, events: Events) -> Result<Self, ServeError> {
        check(&settings)?;
        let tokio = tokio::runtime::Builder::new_multi_thread()
            // Handlers wait; what computes has its own threads.
            .worker_threads(2)
            .thread_name("server")
            .enable_all()
            .build()
            .map_err(ServeError::Thread)?;
        let place = format!("{}:{}", settings.host, settings.port);
        let listening = tokio.block_on(TcpListener::bind((settings.host.as_str(), settings.port)));
        let (listener, address) = listening
            .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
            .map_err(|source| ServeError::Listen { address: place, source })?;
        let (stop, stopped) = watch::channel(false);
        let serving = Serving { settings, runtime, events, address, stopped };
        let thread = std::thread::Builder::new().name("serve".to_owned()).spawn(move || {
            let served = tokio.block_on(serving.serve(listener));
            // Connections that outlived their grace are cut.
            tokio.shutdown_timeout(Duration::from_secs(1));
            served
        });
        Ok(Self { address, stop, thread: thread.map_err(ServeError::Thread)? })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to stop: no new connections; what runs may finish within the settings' `grace`, and what is left of it is
    /// returned as it stands.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// When the first model could not be loaded, or the server failed.
    pub fn wait(self) -> Result<(), ServeError> {
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(ServeError::Thread(std::io::Error::other("the server's thread panicked"))))
    }
}

fn check(settings: &ServeSettings) -> Result<(), ServeError> {
    let refuse =
        |parameter, given: &str, allowed| Err(ServeError::Setting { parameter, given: given.to_owned(), allowed });
    if settings.models.is_empty() {
        return refuse("models", "empty", "at least one");
    }
    for (index, model) in settings.models.iter().enumerate() {
        if settings.models[..index].iter().any(|before| before.name == model.name) {
            return refuse("model", &model.name, "each name once; NAME=PATH gives a model another one");
        }
    }
    if settings.api_keys.iter().any(String::is_empty) {
        return refuse("api_key", "empty", "a key that is not empty");
    }
    if let Some(origin) = settings.cors_origins.iter().find(|origin| !is_origin(origin)) {
        return refuse("cors_origin", origin, "a scheme and a host, as https://example.org");
    }
    if let Some(name) = settings.allowed_hosts.iter().find(|name| name.is_empty() || name.contains(['/', ':', '*'])) {
        return refuse("allowed_host", name, "a name without scheme and port, as example.org");
    }
    for (parameter, given) in
        [("queue", settings.queue), ("canvas_limit", settings.canvas_limit), ("body_limit", settings.body_limit)]
    {
        if given == 0 {
            return refuse(parameter, "0", "1 or more");
        }
    }
    if settings.time_limit.is_zero() || settings.time_limit > LONGEST {
        return refuse("time_limit", &format!("{} s", settings.time_limit.as_secs()), "above 0, to 31536000 s, a year");
    }
    if settings.grace > LONGEST {
        return refuse("grace", &format!("{} s", settings.grace.as_secs()), "at most 31536000 s, a year");
    }
    Ok(())
}

/// Whether a browser could name a page so.
fn is_origin(origin: &str) -> bool {
    let host = origin.split_once("://").map(|(_, host)| host.strip_suffix('/').unwrap_or(host));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*']))
}

/// What serving needs.
struct Serving {
    settings: ServeSettings,
    runtime: Runtime,
    events: Events,
    address: SocketAddr,
    stopped: watch::Receiver<bool>,
}

impl Serving {
    async fn serve(self, listener: TcpListener) -> Result<(), ServeError> {
        let Self { settings, runtime, events, address, mut stopped } = self;
        let metrics = Arc::new(Metrics::default());
        let grace = settings.grace;
        let (scheduler, thread) = Scheduler::start(settings.queue, metrics.clone()).map_err(ServeError::Thread)?;
        let budget = settings.model_memory.or(runtime::memory().map(|memory| memory.available / 2));
        let sources = settings.models.clone();
        let budget = budget.unwrap_or(MODEL_MEMORY);
        let trust = Trust { watermark: settings.watermark.clone(), guards: settings.guards.clone() };
        let models = Models::new(sources, trust, runtime, budget, scheduler.clone(), events.clone());
        let ready = AtomicBool::new(false);
        let app = App::new(Shared {
            settings,
            models,
            scheduler: scheduler.clone(),
            blocking: BlockingPool::of_this_machine(),
            metrics,
            canvases: FollowedCanvases::default(),
            events: events.clone(),
            ready,
            stopping: AtomicBool::new(false),
        });
        let (end, ended) = watch::channel(false);
        let (mut working, mut broken) = (tokio::task::spawn_blocking(move || thread.join()), false);
        let accepting = tokio::spawn(accept(listener, router(app.clone()), ended));
        let loaded = tokio::select! {
            first = app.models.get(None) => Some(first.map(drop).map_err(|error| ServeError::Model(error.to_string()))),
            // The sender lives as long as the server.
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        if let Some(Ok(())) = &loaded {
            app.ready.store(true, SeqCst);
            events(ServeEvent::Ready { address });
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => {}
                // Nothing is computed any more.
                _ = &mut working => broken = true,
            }
        }
        app.stopping.store(true, SeqCst);
        let failed = matches!(loaded, Some(Err(_)));
        if !failed {
            events(ServeEvent::Stopping);
        }
        scheduler.stop(if failed { Duration::ZERO } else { grace });
        // Whoever asks meanwhile hears that the server is stopping.
        if !broken {
            let _ = working.await;
        }
        end.send_replace(true);
        let _ = accepting.await;
        if broken {
            return Err(ServeError::Thread(std::io::Error::other("the scheduler's thread panicked")));
        }
        loaded.unwrap_or(Ok(()))
    }
}

/// Accepts connections until the end, and then gives those that are open a moment to send what is ready.
async fn accept(listener: TcpListener, router: Router, mut ended: watch::Receiver<bool>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let place = tokio::select! {
            Ok(place) = connections.clone().acquire_owned() => place,
            _ = ended.wait_for(|end| *end) => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.wait_for(|end| *end) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection::serve(stream, peer, &router, &graceful);
                tokio::spawn(async move {
                    // A client that is gone or breaks the protocol ends its own connection only.
                    let _ = connection.await;
                    drop(place);
                });
            }
            // Too many open files, say: it passes when some are closed.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(LAST_WORDS, graceful.shutdown()).await;
}
