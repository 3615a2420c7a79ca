//! A web application with a push server in the same process: `cargo run --example embedded`.
//!
//! The application (warp, on port 3000) has routes of its own. They publish through the server's
//! handle, without HTTP and signatures. Browsers listen on the push server (port 8000).

use std::future::Future;

use channelstream_server::protocol::{Connect, NewMessage};
use channelstream_server::{Config, Handle, HandleError, Server, ServerError};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::StatusCode;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example talks to people")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = TcpListener::bind("127.0.0.1:3000").await?;
    let push = TcpListener::bind("127.0.0.1:8000").await?;
    println!("application on http://{}, push server on {}", app.local_addr()?, push.local_addr()?);
    let shutdown = async {
        // Without Ctrl-C, the process runs until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    run(app, push, Config::default(), shutdown).await?;
    Ok(())
}

/// Runs both on their listeners until `shutdown` completes.
pub(crate) async fn run(
    app: TcpListener,
    push: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServerError> {
    let server = Server::from_listener(push, config)?;
    let application = warp::serve(routes(server.handle())).incoming(app).run();
    tokio::select! {
        outcome = server.run(shutdown) => outcome,
        () = application => Ok(()),
    }
}

/// The routes of the application.
fn routes(
    handle: Handle,
) -> impl Filter<Extract = (impl warp::Reply,), Error = warp::Rejection> + Clone {
    let with_handle = warp::any().map(move || handle.clone());
    // POST /join/ann: the page of ann listens with the `conn_id` of the answer.
    let join = warp::path!("join" / String)
        .and(warp::post())
        .and(with_handle.clone())
        .then(|user: String, handle: Handle| async move { answer(join(&handle, user).await) });
    // POST /say/ann with a JSON object: everybody in the channel receives it.
    let say = warp::path!("say" / String)
        .and(warp::post())
        .and(warp::body::json())
        .and(with_handle)
        .then(|user: String, message: Value, handle: Handle| async move {
            answer(say(&handle, user, message).await)
        });
    join.or(say).unify()
}

async fn join(handle: &Handle, user: String) -> Result<Value, HandleError> {
    let connected = handle.connect(&Connect::new(user).channels(["news"])).await?;
    Ok(json!({"conn_id": connected.conn_id}))
}

async fn say(handle: &Handle, user: String, message: Value) -> Result<Value, HandleError> {
    let posted = handle.publish(NewMessage::to_channel(user, "news", message)?).await?;
    Ok(json!({"recipients": posted[0].receipt.recipients}))
}

fn answer(outcome: Result<Value, HandleError>) -> impl warp::Reply {
    let (status, body) = match outcome {
        Ok(body) => (StatusCode::OK, body),
        Err(HandleError::Overloaded | HandleError::Stopped) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "try again later"}))
        }
        Err(error) => (StatusCode::BAD_REQUEST, json!({"error": error.to_string()})),
    };
    warp::reply::with_status(warp::reply::json(&body), status)
}
