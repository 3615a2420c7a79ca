//! `channelstream-server health`: asks a running server whether it is alive, for images without a shell.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, Command, value_parser};
use http::header::{CONNECTION, HOST};
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::cli::Given;
use super::{gather, health_tls, print, shown};
use crate::config::Config;
#[cfg(unix)]
use crate::config::unix_socket;

/// The longest time for an answer. The server itself gives up on its loop earlier.
const ANSWER: Duration = Duration::from_secs(10);

/// How many bytes of an answer are shown.
const SHOWN: usize = 200;

pub(super) fn command() -> Command {
    Command::new("health")
        .about("Ask a running server whether it is alive; exit status 0 if it answers 200, 1 if not")
        .arg(Arg::new("url").value_name("URL").value_parser(value_parser!(Uri)).help(
            "What to ask, for example http://127.0.0.1:8000/readyz; /healthz at the host and port of \
             the settings by default, whose certificate is not checked; that of an https:// URL is, \
             against the authorities of the system",
        ))
}

pub(super) fn run(url: Option<&Uri>, given: &Given) -> anyhow::Result<ExitCode> {
    let place = match url {
        Some(url) => Place::of_url(url)?,
        None => Place::of_server(&gather(given).check().config?)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let asked = runtime.block_on(async { timeout(ANSWER, place.ask()).await });
    // A pending lookup of a host name must not delay the exit.
    runtime.shutdown_background();
    let (status, text) = asked
        .with_context(|| format!("no answer within {} s", ANSWER.as_secs()))
        .flatten()
        .with_context(|| place.shown.clone())?;
    ensure!(status == StatusCode::OK, "{}: {status}: {text}", place.shown);
    print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// What is asked, and where.
struct Place {
    server: Server,
    /// The `Host` of the request.
    authority: String,
    path: String,
    /// Without the query, which may have a secret.
    shown: String,
}

enum Server {
    Tcp {
        host: String,
        port: u16,
        tls: Option<Tls>,
    },
    #[cfg(unix)]
    Unix(PathBuf),
}

/// How the certificate of the server is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tls {
    OfUrl,
    OfOwn,
}

impl Place {
    /// Returns where a server with these settings says whether it is alive.
    fn of_server(config: &Config) -> anyhow::Result<Self> {
        const PATH: &str = "/healthz";
        #[cfg(unix)]
        if let Some(path) = unix_socket(&config.host) {
            return Ok(Self {
                server: Server::Unix(path.to_owned()),
                authority: "localhost".to_owned(),
                path: PATH.to_owned(),
                shown: config.host.clone() + PATH,
            });
        }
        let host = match config.host.parse() {
            // A server that listens on all addresses is reached on this one.
            Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => Ipv4Addr::LOCALHOST.to_string(),
            Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => format!("[{}]", Ipv6Addr::LOCALHOST),
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => config.host.clone(),
        };
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{host}:{}{PATH}", config.port);
        let mut place = Self::of_url(&url.parse().with_context(|| format!("{url} is no URL"))?)?;
        if let Server::Tcp { tls: Some(tls), .. } = &mut place.server {
            *tls = Tls::OfOwn;
        }
        Ok(place)
    }

    /// Checks that a URL can be asked. An error shows nothing of it.
    fn of_url(url: &Uri) -> anyhow::Result<Self> {
        let authority = url.authority().map_or("", Authority::as_str);
        let (scheme, tls, port) = match url.scheme_str() {
            Some("http") => ("http", None, 80),
            Some("https") => ("https", Some(Tls::OfUrl), 443),
            _ => bail!("only a URL that begins with http:// or https:// can be asked"),
        };
        ensure!(!authority.contains('@'), "a URL with a user or a password cannot be asked");
        let host = url.host().unwrap_or_default();
        let has_port = authority.len() > host.len();
        ensure!(!has_port || url.port_u16().is_some(), "the port of the URL is none: 1 to 65535");
        Ok(Self {
            server: Server::Tcp {
                host: host.trim_matches(['[', ']']).to_owned(),
                port: url.port_u16().unwrap_or(port),
                tls,
            },
            authority: authority.to_owned(),
            path: url.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            shown: format!("{scheme}://{authority}{}", url.path()),
        })
    }

    /// Returns the status of an answer and the beginning of its text.
    async fn ask(&self) -> anyhow::Result<(StatusCode, String)> {
        match &self.server {
            Server::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                match tls {
                    None => self.ask_over(stream).await,
                    Some(tls) => {
                        let is_own = *tls == Tls::OfOwn;
                        self.ask_over(health_tls::connect(stream, host, is_own).await?).await
                    }
                }
            }
            #[cfg(unix)]
            Server::Unix(path) => self.ask_over(UnixStream::connect(path).await?).await,
        }
    }

    async fn ask_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> anyhow::Result<(StatusCode, String)> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(&self.path)
            .header(HOST, &self.authority)
            .header(CONNECTION, "close")
            .body(String::new())?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            anyhow::Ok((answer.status(), beginning(answer).await))
        };
        // The answer is there, however the connection ends behind it.
        let (_, answer) = tokio::join!(connection, answer);
        answer
    }
}

/// Returns the beginning of the text of an answer, without what must not reach a terminal.
async fn beginning(answer: Response<Incoming>) -> String {
    let mut body = answer.into_body();
    let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
    let data = frame.and_then(Result::ok).and_then(|frame| frame.into_data().ok());
    let text = String::from_utf8_lossy(data.as_deref().unwrap_or_default()).into_owned();
    text.trim().chars().take(SHOWN).map(shown).collect()
}
