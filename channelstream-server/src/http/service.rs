//! The service that answers requests, behind warp. No other file names warp.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::service::TowerToHyperService;
use warp::Filter;

use crate::http::body::{Broken, Chunks};
use crate::http::request::Head;

/// What answers the requests of all connections.
pub(crate) trait Service: Send + Sync + 'static {
    fn answer(
        self: Arc<Self>,
        head: Arc<Head>,
        upgrade: Option<OnUpgrade>,
        body: Chunks,
    ) -> impl Future<Output = Response<Bytes>> + Send;
}

/// Makes one warp filter of a service. The filter only extracts. The service decides what is
/// answered, in the order that the contract fixes, which warp's rejections could not keep.
pub(crate) fn routes<S: Service>(
    service: Arc<S>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<
        impl Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    >,
    Error = Infallible,
    Future: Send,
> {
    let filter = warp::ext::get::<Arc<Head>>()
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::body::stream())
        .then(move |head, upgrade, body| {
            let chunks = Box::pin(StreamExt::map(body, |chunk: Result<_, warp::Error>| {
                chunk.map(bytes).map_err(|_| Broken)
            }));
            Arc::clone(&service).answer(head, upgrade, chunks)
        });
    TowerToHyperService::new(warp::service(filter))
}

fn bytes(mut buf: impl Buf) -> Bytes {
    buf.copy_to_bytes(buf.remaining())
}
