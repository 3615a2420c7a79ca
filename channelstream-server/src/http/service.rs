//! HTTP as warp and hyper give it: each request as one filter.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use warp::Filter;

use crate::app::App;
use crate::http::answer::{Problem, respond};
use crate::http::connection::Head;
use crate::http::request::{self, Request};
use crate::router;

/// Every request as one warp filter. The filter only extracts; what is answered is decided below,
/// in the order that the contract fixes, which rejections could not keep.
pub(crate) fn routes(
    app: Arc<App>,
) -> impl Filter<Extract = (Response<Bytes>,), Error = warp::Rejection> + Clone {
    warp::ext::get::<Arc<Head>>()
        .and(warp::ext::optional::<OnUpgrade>())
        .and(warp::body::stream())
        .then(move |head: Arc<Head>, upgrade, body| {
            let app = Arc::clone(&app);
            async move {
                let pieces = Box::pin(futures_util::StreamExt::map(body, |piece| {
                    Result::map(piece, request::piece)
                }));
                let began = Instant::now();
                let head_of_request = Arc::clone(&head);
                let mut request =
                    Request::new(head_of_request, upgrade, pieces, &app.config, &app.notes);
                let (id, peer, path) = (request.id, request.peer, request.path.take());
                let outcome = router::answer(&app, path.as_deref(), request).await;
                if let Some(limit) = outcome.as_ref().err().and_then(Problem::limit) {
                    app.limits.refused(limit, peer);
                }
                let shown = path.as_deref().unwrap_or(head.uri.path());
                let response = respond(outcome, &head.headers, shown, &app.common_headers);
                tracing::debug!(
                    request = id,
                    %peer,
                    method = %head.method,
                    path = path.as_deref().unwrap_or("(undecodable)"),
                    status = response.status().as_u16(),
                    micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX),
                    "answered"
                );
                response
            }
        })
}
