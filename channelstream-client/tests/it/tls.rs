//! Calls, websockets and polls over TLS, all with one TLS stack.
//!
//! The certificates in `tls/` are for these tests only and valid until 2126. The key of their issuer
//! was deleted.

use std::sync::Arc;

use channelstream_client::{Client, Connect, ErrorKind, EventStream, RetryPolicy, Transport};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::listening::{number, numbered, opened, until};
use crate::server::{SECRET, Server};

const ISSUER: &[u8] = include_bytes!("tls/ca.pem");

/// Starts a proxy that terminates TLS before the server at `port`, and returns its address.
async fn front(port: u16) -> String {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn calls_websockets_and_polls_share_it() {
    let server = Server::start();
    let url = front(server.port).await;
    let client = Client::builder(&url).secret(SECRET).root_certificates(ISSUER).build().unwrap();
    for transport in [Transport::Websocket, Transport::LongPoll] {
        let request = Connect::new("ann").channels(["news"]);
        let id = client.connect(request).await.unwrap().conn_id;
        client.publish(numbered(1)).await.unwrap();
        let builder = match transport {
            Transport::LongPoll => client.listen(id).only_long_poll(),
            _ => client.listen(id).only_websocket(),
        };
        let mut listener = builder.build().unwrap();
        assert_eq!(until(&mut listener, opened).await, (id, transport));
        assert_eq!(until(&mut listener, number).await, 1);
        client.publish(numbered(2)).await.unwrap();
        assert_eq!(until(&mut listener, number).await, 2);
        // A stream without a client and its secret takes over the connection.
        drop(listener);
        let listener = EventStream::builder(&url, id).root_certificates(ISSUER);
        let mut listener = listener.build().unwrap();
        assert_eq!(until(&mut listener, opened).await.0, id);
        client.disconnect(id).await.unwrap();
    }
}

#[tokio::test]
async fn a_scheme_that_the_port_does_not_speak_is_named() {
    let server = Server::start();
    let secure = front(server.port).await;
    for (url, text) in [
        (server.url.replace("http:", "https:"), "this port speaks plain HTTP; use http://"),
        (secure.replace("https:", "http:"), "if it speaks TLS, use https://"),
    ] {
        let client = Client::builder(&url).secret(SECRET).root_certificates(ISSUER).build();
        let client = client.unwrap();
        let error = client.publish(numbered(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Scheme, "{error:?}");
        assert!(error.to_string().ends_with(text), "{error}");
        assert_eq!((error.attempts(), error.is_in_doubt()), (1, false), "no repeat helps");
    }
}

#[tokio::test]
async fn a_server_of_unknown_issue_is_not_reached() {
    let server = Server::start();
    let url = front(server.port).await;
    let policy = RetryPolicy::never();
    let client = Client::builder(&url).secret(SECRET).retries(policy).build().unwrap();
    let error = client.publish(numbered(1)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_in_doubt()), (ErrorKind::Connect, false), "{error:?}");
    assert_eq!(server.client().admin_stats().await.unwrap().total_unique_messages, 0);
}
