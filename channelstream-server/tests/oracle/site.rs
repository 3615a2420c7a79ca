//! What scenarios talk to: one server, or several on one Redis behind nginx, which gives each request to the
//! next of them.

use std::net::SocketAddr;

use anyhow::Result;

use crate::nginx::{self, Nginx};
use crate::proxy;
use crate::redis::{Disk, Redis};
use crate::server::{Server, Settings};

/// It ends when this is dropped.
pub(crate) struct Site {
    /// Its address, as `127.0.0.1:port`.
    pub(crate) host: String,
    // nginx ends first and Redis last, so that nobody misses anybody.
    _nginx: Option<Nginx>,
    _servers: Vec<Server>,
    _redis: Option<Redis>,
}

impl Site {
    /// Starts so many servers, and waits until all of them answer.
    pub(crate) fn start(command: Option<&str>, nodes: usize, settings: &Settings) -> Result<Self> {
        if nodes == 1 {
            let server = Server::start(command, settings)?;
            let host = server.host.clone();
            return Ok(Self { host, _nginx: None, _servers: vec![server], _redis: None });
        }
        let redis = Redis::start(Disk::None, &[]);
        let mut settings = settings.clone();
        for (key, value) in proxy::settings(&redis) {
            if key != "trusted_proxies" || !settings.plays_proxy {
                settings.add(key, value);
            }
        }
        let servers = (0..nodes).map(|_| Server::start(command, &settings));
        let servers = servers.collect::<Result<Vec<_>>>()?;
        let addresses = servers.iter().map(|server| server.host.parse());
        let addresses = addresses.collect::<Result<Vec<SocketAddr>, _>>()?;
        let before = if settings.plays_proxy { before_passing_headers } else { proxy::before };
        let nginx = before(&addresses);
        let host = format!("127.0.0.1:{}", nginx.port);
        Ok(Self { host, _nginx: Some(nginx), _servers: servers, _redis: Some(redis) })
    }
}

/// nginx that passes on what its client sends as a proxy's headers. The servers may not trust it.
fn before_passing_headers(servers: &[SocketAddr]) -> Nginx {
    let example = nginx::example();
    let lines = example.lines().filter(|line| !line.contains("proxy_set_header X-"));
    let lines: Vec<_> = lines.collect();
    let text = format!("{}{}", proxy::upstream(servers), lines.join("\n"));
    Nginx::before("http://channelstream", &text, "")
}
