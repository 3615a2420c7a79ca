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
use warp::{Filter, Reply};

use crate::http::answer::Content;
use crate::http::body::{Broken, Chunks};
use crate::http::request::Head;
use crate::http::unread;

/// What answers the requests of all connections.
pub(crate) trait Service: Send + Sync + 'static {
    fn answer(
        self: Arc<Self>,
        head: Arc<Head>,
        upgrade: Option<OnUpgrade>,
        body: Chunks,
    ) -> impl Future<Output = Response<Content>> + Send;
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
        .then(move |head: Arc<Head>, upgrade, body| {
            let chunks = StreamExt::map(body, |chunk: Result<_, warp::Error>| {
                chunk.map(bytes).map_err(|_| Broken)
            });
            let (chunks, unread) = unread::lend(&head.headers, chunks);
            let service = Arc::clone(&service);
            // warp and hyper move what they poll several times, and this has some kilobytes.
            Box::pin(async {
                let mut answer = service.answer(head, upgrade, chunks).await;
                if let Some(unread) = unread {
                    unread.settle(answer.headers_mut()).await;
                }
                reply(answer)
            })
        });
    TowerToHyperService::new(warp::service(filter))
}

fn reply(response: Response<Content>) -> warp::reply::Response {
    let (parts, content) = response.into_parts();
    match content {
        Content::Whole(bytes) => Response::from_parts(parts, bytes).into_response(),
        Content::Pieces(pieces) => {
            let pieces = warp::reply::stream(pieces.map(Ok::<_, Infallible>));
            Response::from_parts(parts, pieces.into_response().into_body())
        }
    }
}

fn bytes(mut buf: impl Buf) -> Bytes {
    buf.copy_to_bytes(buf.remaining())
}
