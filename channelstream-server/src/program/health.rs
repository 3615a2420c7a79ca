//! `channelstream-server health`: asks a running server whether it is alive, for images without a shell.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Arg, Command, value_parser};
use http::header::{CONNECTION, HOST};
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cli::Given;
use super::{gather, print, shown};
use crate::config::Config;

/// The longest time for an answer. The server itself gives up on its loop earlier.
const ANSWER: Duration = Duration::from_secs(10);

/// How many bytes of an answer are shown.
const SHOWN: usize = 200;

pub(super) fn command() -> Command {
    Command::new("health")
        .about("Ask a running server whether it is alive; exit status 0 if it answers 200, 1 if not")
        .arg(Arg::new("url").value_name("URL").value_parser(value_parser!(Uri)).help(
            "What to ask, for example http://127.0.0.1:8000/readyz; /healthz at the host and port of \
             the settings by default",
        ))
}

pub(super) fn run(url: Option<&Uri>, given: &Given) -> anyhow::Result<ExitCode> {
    let url = match url {
        Some(url) => url.clone(),
        None => own(&gather(given).check().config?)?,
    };
    check(&url)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let asked = runtime.block_on(async { timeout(ANSWER, ask(&url)).await });
    // A pending lookup of a host name must not delay the exit.
    runtime.shutdown_background();
    // Without the query, which may have a secret.
    let place = format!("http://{}{}", url.authority().map_or("", Authority::as_str), url.path());
    let (status, text) = asked
        .with_context(|| format!("no answer within {} s", ANSWER.as_secs()))
        .flatten()
        .with_context(|| place.clone())?;
    ensure!(status == StatusCode::OK, "{place}: {status}: {text}");
    print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns where a server with these settings says whether it is alive.
fn own(config: &Config) -> anyhow::Result<Uri> {
    let host = match config.host.parse() {
        // A server that listens on all addresses is reached on this one.
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => format!("[{}]", Ipv6Addr::LOCALHOST),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => config.host.clone(),
    };
    let url = format!("http://{host}:{}/healthz", config.port);
    url.parse().with_context(|| format!("{url} is no URL"))
}

/// Checks that a URL can be asked. An error shows nothing of it.
fn check(url: &Uri) -> anyhow::Result<()> {
    let authority = url.authority().map_or("", Authority::as_str);
    ensure!(url.scheme_str() == Some("http"), "only a URL that begins with http:// can be asked");
    ensure!(!authority.contains('@'), "a URL with a user or a password cannot be asked");
    let has_port = authority.len() > url.host().unwrap_or_default().len();
    ensure!(!has_port || url.port_u16().is_some(), "the port of the URL is none: 1 to 65535");
    Ok(())
}

/// Returns the status of an answer and the beginning of its text.
async fn ask(url: &Uri) -> anyhow::Result<(StatusCode, String)> {
    const HTTP: u16 = 80;
    let authority = url.authority().context("the URL names no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(HTTP))).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority.as_str())
        .header(CONNECTION, "close")
        .body(String::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        anyhow::Ok((answer.status(), beginning(answer).await))
    };
    let (_, answer) = tokio::join!(connection, answer);
    answer
}

/// Returns the beginning of the text of an answer, without what must not reach a terminal.
async fn beginning(answer: Response<Incoming>) -> String {
    let mut body = answer.into_body();
    let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
    let data = frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
    let text = String::from_utf8_lossy(data.as_deref().unwrap_or_default()).into_owned();
    text.trim().chars().take(SHOWN).map(shown).collect()
}
