//! A connection that drops: a relay in front of the server that cuts the first stream of a canvas.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// Relays connections to a server.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    /// Streams cut so far.
    cuts: Arc<AtomicUsize>,
    /// Requests to go on with a canvas.
    resumptions: Arc<AtomicUsize>,
}

impl Proxy {
    /// Cuts the answer to the first `POST /v1/canvas` after so many bytes.
    pub(super) async fn start(server: SocketAddr, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (cuts, resumptions) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = (cuts.clone(), resumptions.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cuts, resumptions) = counted.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.expect("the server listens");
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    let watch = Watch { cuts, resumptions, armed: Arc::new(AtomicUsize::new(usize::MAX)), bytes };
                    tokio::join!(
                        requests(from_client, to_server, watch.clone()),
                        answers(from_server, to_client, watch.clone())
                    );
                });
            }
        });
        Self { address, cuts, resumptions }
    }

    pub(super) fn cuts(&self) -> usize {
        self.cuts.load(SeqCst)
    }

    pub(super) fn resumptions(&self) -> usize {
        self.resumptions.load(SeqCst)
    }
}

/// What the two directions of a connection know of each other.
#[derive(Clone)]
struct Watch {
    cuts: Arc<AtomicUsize>,
    resumptions: Arc<AtomicUsize>,
    /// Bytes until this connection is cut.
    armed: Arc<AtomicUsize>,
    bytes: usize,
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, watch: Watch) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..count]);
        if text.starts_with("POST /v1/canvas ") && watch.cuts.load(SeqCst) == 0 {
            watch.armed.store(watch.bytes, SeqCst);
        }
        if text.starts_with("GET /v1/canvas/") {
            watch.resumptions.fetch_add(1, SeqCst);
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, watch: Watch) {
    let mut buffer = vec![0; 512];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let left = watch.armed.load(SeqCst);
        let passed = count.min(left);
        if to.write_all(&buffer[..passed]).await.is_err() {
            return;
        }
        if left != usize::MAX {
            watch.armed.store(left - passed, SeqCst);
        }
        if passed == left {
            watch.cuts.fetch_add(1, SeqCst);
            // Both halves are dropped here, in the middle of an event.
            return;
        }
    }
}
