//! A server inside somebody else's: a tower service.

use crate::caller::{Caller, Way};
use crate::http::respond;
use crate::linked;
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
use tokio::sync::watch;

/// A tower service that answers Socket.IO requests. Cheap to clone; with the last clone gone its sessions live on.
///
/// Requests wait until the backplane was tried, if there is one ([`Config::adapter`](crate::Config::adapter)). Where it cannot be reached that
/// is logged, and tried again every second.
///
/// The client's address is taken from an extension of type [`SocketAddr`] of the request, if there is one.
#[derive(Clone)]
pub struct Service {
    listening: Listening,
    /// Whether the backplane was tried.
    tried: watch::Receiver<bool>,
}

impl Service {
    pub(crate) fn new(listening: Listening) -> Self {
        let serving = listening.clone();
        let (tell, tried) = watch::channel(false);
        // Ends with the server; nothing waits for it.
        tokio::spawn(async move {
            let core = &serving.site.core;
            let linked = linked::join(&core.config, Some(core.tag), false).await.unwrap_or_else(|error| {
                tracing::error!(%error, "other nodes will not find this one: its sessions have to be sticky");
                None
            });
            let _links = linked.map(|linked| linked.begin(&serving));
            serving.reach_backplane().await;
            tell.send_replace(true);
            serving.handle.closed().await;
            serving.close().await;
        });
        Self { listening, tried }
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
        let site = Arc::clone(&self.listening.site);
        let mut tried = self.tried.clone();
        let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = request.extensions().get::<SocketAddr>().copied().unwrap_or(unknown);
        let caller = Caller { peer, way: Way::Public };
        Box::pin(async move {
            // An error: the runtime ends.
            drop(tried.wait_for(|tried| *tried).await);
            Ok(respond(&site, caller, request).await)
        })
    }
}
