//! What the client sends: method, path, signature, headers.

use channelstream_client::{
    Address, Client, Configure, Connect, Delete, Edit, InfoOptions, NewMessage, SetUserState,
    Subscribe, TimestampSigner, Unsubscribe, UserState, Uuid,
};

use crate::stub::{Request, Stub};

fn signed_value(request: &Request) -> String {
    let signature = request.header("x-channelstream-secret").unwrap();
    let signer = TimestampSigner::new("s3cret");
    let now = channelstream_signer::unix_now();
    signer.unsign_within(signature, 60, now).unwrap().value.to_owned()
}

#[tokio::test]
async fn each_call_has_its_endpoint_and_is_signed_for_it() {
    let stub = Stub::answering("500 Internal Server Error", "");
    let client = Client::new(format!("http://{}/push/", stub.host), "s3cret").unwrap();
    let id = Uuid::from_u128(1);
    let address = || Address::channel("news");
    let (subscribe, unsubscribe) = (Subscribe::new(id, ["a"]), Unsubscribe::new(id, ["a"]));

    client.connect(Connect::new("ann")).await.unwrap_err();
    client.subscribe(subscribe).await.unwrap_err();
    client.unsubscribe(unsubscribe).await.unwrap_err();
    client.set_user_state(SetUserState::new("ann", UserState::new())).await.unwrap_err();
    client.publish(&[NewMessage::new("ann", address())]).await.unwrap_err();
    client.edit(&[Edit::new(id, address())]).await.unwrap_err();
    client.delete(&[Delete::new(id, address())]).await.unwrap_err();
    client.configure(Configure::default()).await.unwrap_err();
    client.info(InfoOptions::default()).await.unwrap_err();
    client.disconnect(id).await.unwrap_err();
    client.admin_stats().await.unwrap_err();

    for (method, path) in [
        ("POST", "/connect"),
        ("POST", "/subscribe"),
        ("POST", "/unsubscribe"),
        ("POST", "/user_state"),
        ("POST", "/message"),
        ("PATCH", "/message"),
        ("DELETE", "/message"),
        ("POST", "/channel_config"),
        ("POST", "/info"),
        ("POST", "/disconnect"),
        ("POST", "/admin/admin.json"),
    ] {
        let request = stub.request();
        assert_eq!(request.line(), format!("{method} /push{path}"));
        assert_eq!(signed_value(&request), path);
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("prefer"), Some("handling=strict, return=representation"));
        let user_agent = request.header("user-agent").unwrap();
        assert!(user_agent.starts_with("channelstream-client/"), "{user_agent}");
        if path == "/admin/admin.json" {
            assert_eq!(request.body, "");
        } else {
            assert_eq!(request.header("content-type"), Some("application/json"));
            serde_json::from_str::<serde_json::Value>(&request.body).unwrap();
        }
    }
}

#[tokio::test]
async fn signer_user_agent_and_http_client_may_be_ones_own() {
    let stub = Stub::answering("200 OK", "true");
    let own = || reqwest::Client::builder().user_agent("theirs/1").build().unwrap();
    let builder = || {
        Client::builder(format!("http://{}", stub.host))
            .signer(TimestampSigner::builder("s3cret").older_secret("older").build())
    };
    let id = Uuid::from_u128(1);

    assert!(builder().user_agent("mine/1").build().unwrap().disconnect(id).await.unwrap());
    let request = stub.request();
    assert_eq!(signed_value(&request), "/disconnect");
    assert_eq!(request.header("user-agent"), Some("mine/1"));

    assert!(builder().strict(false).build().unwrap().disconnect(id).await.unwrap());
    assert_eq!(stub.request().header("prefer"), None);

    assert!(builder().http_client(own()).build().unwrap().disconnect(id).await.unwrap());
    assert_eq!(stub.request().header("user-agent"), Some("theirs/1"));

    let both = builder().http_client(own()).user_agent("mine/1").build().unwrap();
    assert!(both.disconnect(id).await.unwrap());
    assert_eq!(stub.request().header("user-agent"), Some("mine/1"));
}
