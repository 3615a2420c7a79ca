//! nginx before several servers on one Redis, which gives each request to the next server.

use std::net::SocketAddr;

use crate::nginx::{Nginx, block, example};
use crate::redis::Redis;

/// What such servers have in common.
pub(crate) fn settings(redis: &Redis) -> [(&'static str, String); 4] {
    [
        ("journal", "redis".to_owned()),
        ("redis_url", redis.url()),
        ("cookie_secret", "one for all".to_owned()),
        ("trusted_proxies", "127.0.0.1".to_owned()),
    ]
}

/// nginx before these servers, as docs/operations.md shows it.
pub(crate) fn before(servers: &[SocketAddr]) -> Nginx {
    let text = format!("{}{}", upstream(servers), example());
    Nginx::before("http://channelstream", &text, "")
}

/// The part of the example that names the servers, with these in place of its own.
pub(crate) fn upstream(servers: &[SocketAddr]) -> String {
    let text = block(3);
    let (begin, rest) = text.split_once('\n').unwrap();
    let (lines, end) = rest.split_once("}\n").unwrap();
    let line = lines.lines().next().unwrap();
    assert!(line.contains("10.0.0.1:8000"), "{line}");
    let lines = servers.iter().map(|server| line.replace("10.0.0.1:8000", &server.to_string()));
    format!("{begin}\n{}\n}}\n{end}", lines.collect::<Vec<_>>().join("\n"))
}
