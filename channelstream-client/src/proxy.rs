//! The proxy of the environment that requests go through, if any.

use std::net::IpAddr;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// Returns the proxy that `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name for this
/// address, without user and password. Returns `None` for a loopback address, at which a proxy would
/// reach its own machine.
pub(crate) fn of(address: &Url) -> Option<String> {
    if is_loopback(address) {
        return None;
    }
    let target = address.as_str().parse().ok()?;
    // These are the rules by which reqwest chooses its proxy.
    let proxy = Matcher::from_system().intercept(&target)?;
    Some(proxy.uri().to_string().trim_end_matches('/').to_owned())
}

/// Returns `true` if the address is that of this machine, by name or by a loopback address.
fn is_loopback(address: &Url) -> bool {
    let Some(host) = address.host_str() else { return false };
    let host = host.trim_end_matches('.');
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    ip.is_ok_and(|ip| ip.to_canonical().is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_this_machine() {
        let loopback = |text: &str| is_loopback(&Url::parse(text).unwrap());
        for text in [
            "http://127.0.0.1:8000",
            "http://127.9.9.9",
            "http://127.1",
            "http://[::1]:8000/push",
            "http://[::ffff:127.0.0.1]",
            "http://0.0.0.0:8000",
            "https://user:password@localhost",
            "https://LOCALHOST.:8000",
            "http://push.localhost",
        ] {
            assert!(loopback(text), "{text}");
        }
        for text in [
            "http://10.0.0.1",
            "http://[2001:db8::1]",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://127.0.0.1.example.com",
        ] {
            assert!(!loopback(text), "{text}");
        }
    }
}
