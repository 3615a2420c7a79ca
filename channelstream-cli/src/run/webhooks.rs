//! `webhooks test`: sends a signed webhook, and tells what came back.

use std::io::{Write as _, stdout};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use channelstream_client::{DateTime, Timestamp, Uuid};
use channelstream_signer::unix_now;
use channelstream_signer::webhook::WebhookSigner;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response};
use serde_json::json;

use crate::access;
use crate::args::{AccessArgs, WebhookTestArgs, WebhooksCommand};
use crate::failure::Failure;
use crate::output::{self, Align};

/// The most bytes of an answer that are read.
const ANSWER: usize = 4096;

/// The most characters of an answer that are shown.
const SHOWN: usize = 300;

pub(super) async fn webhooks(
    access: &AccessArgs,
    command: &WebhooksCommand,
) -> Result<(), Failure> {
    match command {
        WebhooksCommand::Test(args) => test(access, args).await,
    }
}

async fn test(access: &AccessArgs, args: &WebhookTestArgs) -> Result<(), Failure> {
    let (text, origin) = access::secret(access)?;
    let secrets = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let signer = WebhookSigner::new(secrets).map_err(|error| {
        Failure::usage(error.to_string())
            .with_hint(format!("--secret-file names the server's webhook_secret_file; {origin}"))
    })?;
    let (id, now) = (format!("msg_{}", Uuid::new_v4().simple()), unix_now());
    let micros = i64::try_from(now).unwrap_or_default().saturating_mul(1_000_000);
    let time = DateTime::from(Timestamp::from_micros(micros)).in_utc().to_string();
    let body = json!({ "type": "test", "timestamp": time, "data": {} }).to_string();
    let request = client(access, args.timeout)?
        .post(&args.url)
        .header("content-type", "application/json")
        .header("webhook-id", &id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", signer.sign(&id, now, body.as_bytes()))
        .body(body);
    let begun = Instant::now();
    let answer = request.send().await.map_err(|error| {
        let timed_out = error.is_timeout();
        let failure = Failure::from(anyhow::Error::new(error.without_url()));
        if timed_out { failure.with_hint("the server waits for webhook_timeout") } else { failure }
    })?;
    let took = begun.elapsed();
    let status = answer.status();
    let text = start_of(answer).await;
    if args.output.json {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let value = json!({ "id": id, "status": status.as_u16(), "milliseconds": milliseconds,
            "answer": text });
        output::json(&mut stdout(), &value)?;
    } else if !args.output.quiet {
        let rows = [
            ["id".to_owned(), id],
            ["status".to_owned(), status.to_string()],
            ["time".to_owned(), format!("{} ms", took.as_millis())],
            ["answer".to_owned(), text],
        ];
        output::rows(&mut stdout(), [Align::Left, Align::Left], &rows)?;
        stdout().flush()?;
    }
    if status.is_success() {
        return Ok(());
    }
    let failure = Failure::from(anyhow::anyhow!("the receiver answers {status}"));
    Err(match status.as_u16() {
        300..=399 => failure.with_hint("the server follows no redirects: use the URL it leads to"),
        400 | 401 | 403 => {
            failure.with_hint("does the receiver have the same secret, and the time?")
        }
        410 => failure.with_hint("after this answer the server sends no more"),
        _ => failure,
    })
}

fn client(access: &AccessArgs, timeout: Duration) -> Result<Client, Failure> {
    // As the server does it.
    let mut builder = Client::builder()
        .user_agent(concat!("channelstream/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .timeout(timeout);
    if let Some(pem) = access::roots(access)? {
        let roots = Certificate::from_pem_bundle(&pem).context("cannot read the certificates")?;
        builder = builder.tls_certs_only(roots);
    }
    Ok(builder.build().context("cannot make a client")?)
}

/// Returns the beginning of an answer on one line.
async fn start_of(mut answer: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(ANSWER);
    let text = String::from_utf8_lossy(&bytes);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(SHOWN).collect()
}
