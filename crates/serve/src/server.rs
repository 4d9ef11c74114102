//! The server: listens, hands connections to the router, and ends in an orderly way.

use crate::app::{App, Shared, router};
use crate::canvas::FollowedCanvases;
use crate::error::ServeError;
use crate::event::ServeEvent;
use crate::identity::Peer;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::scheduler::Scheduler;
use crate::{Events, ServeSettings};
use aquatint::runtime::{self, Runtime};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// How long a client may take to send the head of a request.
const HEADER_TIME: Duration = Duration::from_secs(15);
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
    Ok(())
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
        let models = Models::new(sources, runtime, budget, scheduler.clone(), events.clone());
        let ready = AtomicBool::new(false);
        let app = App::new(Shared {
            settings,
            models,
            scheduler: scheduler.clone(),
            metrics,
            canvases: FollowedCanvases::default(),
            events: events.clone(),
            ready,
        });
        let accepting = tokio::spawn(accept(listener, router(app.clone()).0, stopped.clone(), grace));
        let first = app.models.get(None).await.map_err(|error| ServeError::Model(error.to_string()));
        if first.is_ok() {
            app.ready.store(true, SeqCst);
            events(ServeEvent::Ready { address });
            drop(first);
            // The sender lives as long as the server.
            let _ = stopped.wait_for(|stop| *stop).await;
            events(ServeEvent::Stopping);
            scheduler.stop(grace);
            let _ = accepting.await;
        } else {
            accepting.abort();
            scheduler.stop(Duration::ZERO);
            first?;
        }
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        Ok(())
    }
}

/// Accepts connections until the server stops, then waits for those that are open.
async fn accept(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>, grace: Duration) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    loop {
        let Ok(place) = connections.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, &router, &graceful);
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
    // The scheduler ends what runs within the grace; answers then need a moment to be sent.
    let _ = tokio::time::timeout(grace + Duration::from_secs(2), graceful.shutdown()).await;
}

/// One connection.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = Result<(), hyper::Error>> + use<> {
    // Steps are small events that are wanted at once.
    let _ = stream.set_nodelay(true);
    let service = router.clone().layer(axum::Extension(Peer(peer)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    graceful.watch(connection)
}
