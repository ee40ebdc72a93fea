//! Network listener of the store: a thread with its own runtime, which opens and
//! closes the port on request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::front_end::FrontEnd;

/// A running listener. Dropping it ends the thread.
pub(super) struct Server {
    address: SocketAddr,
    is_up: watch::Sender<bool>,
}

impl Server {
    pub(super) fn start(listener: std::net::TcpListener, front_end: Arc<FrontEnd>) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let (is_up, state) = watch::channel(true);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.expect("a runtime can be made");
            runtime.block_on(serve(listener, &front_end, state));
            runtime.shutdown_background();
        });
        Self { address, is_up }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn set_up(&self, is_up: bool) {
        self.is_up.send_replace(is_up);
    }
}

/// Serves until the [`Server`] is dropped.
async fn serve(
    listener: std::net::TcpListener,
    front_end: &Arc<FrontEnd>,
    mut state: watch::Receiver<bool>,
) {
    listener
        .set_nonblocking(true)
        .expect("a listener can be polled");
    let address = listener.local_addr().expect("a listener has an address");
    let mut listener = TcpListener::from_std(listener).expect("the socket listens");
    loop {
        let mut connections = JoinSet::new();
        while *state.borrow_and_update() {
            tokio::select! {
                Ok((socket, _)) = listener.accept() => {
                    drop(connections.spawn(converse(socket, front_end.clone())));
                }
                changed = state.changed() => if changed.is_err() { return },
            }
        }
        drop(listener);
        connections.shutdown().await;
        if state.wait_for(|is_up| *is_up).await.is_err() {
            return;
        }
        listener = TcpListener::bind(address)
            .await
            .expect("the port is still free");
    }
}

/// Serves one connection to its end.
async fn converse(socket: tokio::net::TcpStream, front_end: Arc<FrontEnd>) {
    // An error is harmless: the option only speeds up small responses.
    drop(socket.set_nodelay(true));
    let service = service_fn(move |request| {
        let front_end = front_end.clone();
        async move { front_end.answer(request).await }
    });
    // Both the clients and the test close connections early: an error is a normal end.
    drop(
        auto::Builder::new(TokioExecutor::new())
            .http1_only()
            .serve_connection(TokioIo::new(socket), service)
            .await,
    );
}
