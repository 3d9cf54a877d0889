//! A server inside somebody else's: a tower service.

use crate::caller::{Caller, Way};
use crate::http::respond;
use crate::listen::Listening;
use bytes::Bytes;
use http::{Request, Response};
use sockeye_relay::{Body, BoxError};
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A tower service that answers Socket.IO requests. Cheap to clone; with the last clone gone its sessions live on.
///
/// The client's address is taken from an extension of type [`SocketAddr`] of the request, if there is one.
#[derive(Clone)]
pub struct Service(Listening);

impl Service {
    pub(crate) fn new(listening: Listening) -> Self {
        let closing = listening.clone();
        // Ends with the server; nothing waits for it.
        tokio::spawn(async move {
            closing.handle.closed().await;
            closing.close().await;
        });
        Self(listening)
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let site = Arc::clone(&self.0.site);
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = request.extensions().get::<SocketAddr>().copied().unwrap_or(unknown);
        let caller = Caller { peer, way: Way::Public };
        Box::pin(async move { Ok(respond(&site, caller, request).await) })
    }
}
