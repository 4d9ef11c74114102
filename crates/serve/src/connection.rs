//! One connection: what a client may cost that sends slowly, reads slowly or not at all.
//!
//! A connection serves one request at a time. The head of a request has to be small and to come in time, as has its body
//! (`body.rs`); an idle connection is closed after the same time. An answer is written as fast as it is read, within
//! limits: a client that takes nothing of it for a while is gone.

use crate::identity::Peer;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long a client may take to send the head of a request, and may wait before it sends one.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Bytes of a head at most. Lines are at most a hundred.
const HEAD_BYTES: usize = 64 << 10;
/// How long a client may read nothing of what is there for it.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// Serves a connection until its client, its limits or a shutdown end it.
pub(crate) fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = Result<(), hyper::Error>> + use<> {
    // Steps are small events that are wanted at once.
    let _ = stream.set_nodelay(true);
    let service = router.clone().layer(axum::Extension(Peer(peer)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES);
    let stream = WriteLimited { inner: stream, limit: WRITE_TIME, waiting: None };
    graceful.watch(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)))
}

/// A stream whose writes fail where the other side takes nothing for too long.
struct WriteLimited<S> {
    inner: S,
    limit: Duration,
    /// Since when a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> WriteLimited<S> {
    fn limited<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.inner), context) {
            self.waiting = None;
            return Poll::Ready(written);
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(pin!(waiting.as_mut()).poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteLimited<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteLimited<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().limited(context, |inner, context| inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().limited(context, |inner, context| inner.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().limited(context, |inner, context| inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().limited(context, |inner, context| inner.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes and then no more.
    struct Full(usize);

    impl AsyncWrite for Full {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Poll::Pending } else { Poll::Ready(Ok(taken)) }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_client_that_reads_nothing_for_too_long_is_gone() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let mut stream = WriteLimited { inner: Full(3), limit: Duration::from_millis(5), waiting: None };
        let mut write =
            async |bytes: &[u8]| std::future::poll_fn(|context| Pin::new(&mut stream).poll_write(context, bytes)).await;
        let (first, second, third) =
            runtime.block_on(async { (write(b"ab").await, write(b"cd").await, write(b"e").await) });
        assert_eq!((first.unwrap(), second.unwrap()), (2, 1));
        assert_eq!(third.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
