//! The checks, from the machine's own limits to a message through every proxy.

use std::fs;
use std::time::{Duration, SystemTime};

use channelstream_client::{Client, Connect, NewMessage, StatusCode, TimestampSigner, Uuid, json};
use channelstream_signer::unix_now;

use super::Findings;
use super::lines::{Socket, Waited};
use super::probe::{Answer, Probe, told};
use crate::access::{self, DEFAULT_SECRET, Origin};
use crate::args::{AccessArgs, DoctorArgs};
use crate::failure::Failure;

const USER: &str = "channelstream-doctor";
/// How long a message may take.
const DELIVERY: Duration = Duration::from_secs(3);
/// Signatures count for 60 s; from a few seconds on, a clock isn't kept right by anything.
const MOST_SKEW: u64 = 55;
const WORTH_TELLING: u64 = 5;
/// One descriptor for each listener, and a few more.
const FEW_FILES: u64 = 128;
const MANY_FILES: u64 = 10_000;

const UPGRADE: &str = "a proxy has to pass Upgrade on; in nginx: proxy_http_version 1.1; \
     proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";
const BUFFERS: &str = "a proxy must not keep answers back; in nginx: proxy_buffering off;";
const CUTS: &str = "a proxy must bear silence for longer than the server's heartbeat_interval and \
     wake_connections_after; in nginx: proxy_read_timeout 60s;";

pub(super) async fn all(
    access: &AccessArgs,
    args: &DoctorArgs,
    findings: &mut Findings,
) -> Result<(), Failure> {
    files(findings)?;
    let url = access::url(access)?;
    let (signer, origin) = access::signer(access)?;
    let client = access::builder(&url).signer(signer.clone()).build();
    let client = client.map_err(|error| Failure::of_client(error, &origin))?;
    let probe = Probe::new(&url)?;

    let Some(answer) = reachable(&probe, findings).await? else {
        return findings.skipped("the rest", "nothing more can be found out without the server");
    };
    let skew = clock(&answer, findings)?;
    let own = Own { signer: &signer, origin: &origin, is_default: is_default(&signer) };
    if rights(&probe, &own, skew, findings).await? {
        version(&client, findings).await?;
        websocket(&probe, &client, args.patience, findings).await?;
        long_poll(&probe, &client, args.patience, findings).await?;
    } else {
        findings.skipped("lines", "websocket and long poll need an accepted signature")?;
    }
    cross_origin(&probe, args.origin.as_deref(), findings).await
}

/// Of processes that are started as this one was.
fn files(findings: &mut Findings) -> Result<(), Failure> {
    const NAME: &str = "open files";
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let Some(soft) = line.and_then(|line| line.split_whitespace().next()) else {
        return findings.skipped(NAME, "this system does not tell the limit");
    };
    let advice = "each listener takes one: start the server with more (`ulimit -n 65536`, or \
         LimitNOFILE= in systemd)";
    let detail = format!("what is started from here may have {soft}");
    match soft.parse::<u64>() {
        Ok(limit) if limit < FEW_FILES => findings.fault(NAME, detail, advice),
        Ok(limit) if limit < MANY_FILES => findings.note(NAME, detail, advice),
        _ => findings.good(NAME, detail),
    }
}

/// The answer to a request without a signature, if it is as of a server of ours.
async fn reachable(probe: &Probe, findings: &mut Findings) -> Result<Option<Answer>, Failure> {
    const NAME: &str = "reachable";
    let answer = match probe.info(None).await {
        Ok(answer) => answer,
        Err(error) => {
            let advice = "is the server running, does --url name its host and port, and does a \
                 firewall let us through?";
            findings.fault(NAME, told(&error), advice)?;
            return Ok(None);
        }
    };
    let status = answer.status;
    if status == StatusCode::FORBIDDEN {
        findings.good(NAME, "it answers, and gives no rights without a signature")?;
        return Ok(Some(answer));
    }
    let detail = format!("a request without a signature was answered with {status}");
    let advice = if let Some(place) = answer.location() {
        format!("it is sent on to {place}: should that be in --url?")
    } else if answer.asks_who() {
        "something before the server asks for a sign-in: let backends past it".to_owned()
    } else if status == StatusCode::NOT_FOUND {
        "is the path prefix in --url right, and does the proxy pass it on as the server wants it?"
            .to_owned()
    } else if status.is_server_error() {
        "a proxy answers, but cannot reach the server: is it running, where the proxy looks?"
            .to_owned()
    } else {
        "that is not what a channelstream server says: look at scheme, host, port and path"
            .to_owned()
    };
    findings.fault(NAME, detail, advice)?;
    Ok(None)
}

/// Whether the clocks differ so much that signatures are refused.
fn clock(answer: &Answer, findings: &mut Findings) -> Result<bool, Failure> {
    const NAME: &str = "clock";
    let Some(skew) = answer.skew(SystemTime::now()) else {
        findings.skipped(NAME, "the answer has no date")?;
        return Ok(false);
    };
    let way = if skew < 0 { "behind" } else { "ahead of" };
    let size = skew.unsigned_abs();
    let detail = format!("this machine's is {size} s {way} the server's");
    let advice = "signatures count for 60 s: have both clocks set by NTP";
    if size >= MOST_SKEW {
        findings.fault(NAME, detail, advice)?;
        return Ok(true);
    }
    if size >= WORTH_TELLING {
        findings.note(NAME, detail, advice)?;
    } else {
        findings.good(NAME, "as the server's")?;
    }
    Ok(false)
}

/// The secret we have.
struct Own<'a> {
    signer: &'a TimestampSigner,
    origin: &'a Origin,
    is_default: bool,
}

/// Whether we have rights.
async fn rights(
    probe: &Probe,
    own: &Own<'_>,
    skew: bool,
    findings: &mut Findings,
) -> Result<bool, Failure> {
    const ADDRESS: &str = "address";
    const SIGNATURE: &str = "signature";
    const SECRET: &str = "secret";
    let answer = match probe.info(Some(own.signer)).await {
        Ok(answer) => answer,
        Err(error) => {
            let advice = "look into the log of the server, and of the proxy before it";
            findings.fault(SIGNATURE, told(&error), advice)?;
            return Ok(false);
        }
    };
    match answer.status {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN => {
            let advice = "add it to the server's allow_posting_from; behind a proxy, the server \
                 sees us only if the proxy is in trusted_proxies. A proxy that removes \
                 x-channelstream-secret does the same";
            findings.fault(ADDRESS, "the server gives this machine's address no rights", advice)?;
            return Ok(false);
        }
        StatusCode::UNAUTHORIZED => {
            findings.good(ADDRESS, "the server would give us rights")?;
            if skew {
                let detail = "refused, as is to be expected from clocks so far apart";
                findings.fault(SIGNATURE, detail, "set the clocks first")?;
                return Ok(false);
            }
            let detail = format!("refused: the secret is not the server's ({})", own.origin);
            let advice = match !own.is_default && default_is_taken(probe).await {
                true => "the server has the well-known default secret: set its `secret`",
                false => "give the server's setting `secret`, by --secret-file or a profile",
            };
            findings.fault(SIGNATURE, detail, advice)?;
            return Ok(false);
        }
        status => {
            let detail = format!("a signed request was answered with {status}");
            let advice = "look into the log of the server, and of the proxy before it";
            findings.fault(SIGNATURE, detail, advice)?;
            return Ok(false);
        }
    }
    findings.good(ADDRESS, "the server gives us rights")?;
    findings.good(SIGNATURE, "accepted")?;
    let advice = "anybody who reaches the server can publish with it: set a `secret` of your own";
    if own.is_default {
        findings.note(SECRET, "it is the well-known default", advice)?;
    } else if default_is_taken(probe).await {
        findings.fault(SECRET, "beside ours, the well-known default is accepted", advice)?;
    } else {
        findings.good(SECRET, "it is not the default")?;
    }
    Ok(true)
}

/// Wherever it was found, it may be the one that everybody knows.
fn is_default(signer: &TimestampSigner) -> bool {
    let signed = signer.sign("/info");
    TimestampSigner::new(DEFAULT_SECRET).unsign_within(&signed, u64::MAX, unix_now()).is_ok()
}

async fn default_is_taken(probe: &Probe) -> bool {
    let answer = probe.info(Some(&TimestampSigner::new(DEFAULT_SECRET))).await;
    answer.is_ok_and(|answer| answer.status == StatusCode::OK)
}

async fn version(client: &Client, findings: &mut Findings) -> Result<(), Failure> {
    const NAME: &str = "version";
    match client.figures().await {
        Ok(figures) if figures.version == env!("CARGO_PKG_VERSION") => {
            findings.good(NAME, figures.version)
        }
        Ok(figures) => {
            let detail =
                format!("the server is {}, this is {}", figures.version, env!("CARGO_PKG_VERSION"));
            findings.note(NAME, detail, "use both of the same version")
        }
        Err(error) => {
            findings.note(NAME, error.to_string(), "does the proxy let /admin/admin.json through?")
        }
    }
}

/// A connection of our own, for one check; nothing if there is none, which is a fault.
async fn connect(
    client: &Client,
    name: &'static str,
    findings: &mut Findings,
) -> Result<Option<Uuid>, Failure> {
    match client.connect(&Connect::new(USER)).await {
        Ok(connected) => Ok(Some(connected.conn_id)),
        Err(error) => {
            findings.fault(name, error.to_string(), "look into the server's log")?;
            Ok(None)
        }
    }
}

/// Sends ourselves a message; its id, by which it is found.
async fn publish(client: &Client) -> Result<String, channelstream_client::Error> {
    let id = Uuid::new_v4();
    client.publish(NewMessage::to_users(USER, [USER], json!({})).id(id)).await?;
    Ok(id.to_string())
}

async fn websocket(
    probe: &Probe,
    client: &Client,
    patience: Duration,
    findings: &mut Findings,
) -> Result<(), Failure> {
    const NAME: &str = "websocket";
    let Some(conn_id) = connect(client, NAME, findings).await? else { return Ok(()) };
    let outcome = match Socket::open(probe, conn_id, patience).await {
        Ok(socket) => {
            findings.good(NAME, "it opens")?;
            over_socket(socket, client, patience, findings).await
        }
        Err(error) => findings.fault(NAME, told(&error), UPGRADE),
    };
    // It would end by itself after a while.
    let _ = client.disconnect(conn_id).await;
    outcome
}

async fn over_socket(
    mut socket: Socket,
    client: &Client,
    patience: Duration,
    findings: &mut Findings,
) -> Result<(), Failure> {
    const DELIVERED: &str = "delivery";
    const HEARTBEAT: &str = "heartbeat";
    let id = match publish(client).await {
        Ok(id) => id,
        Err(error) => {
            return findings.fault(DELIVERED, error.to_string(), "look into the server's log");
        }
    };
    match socket.wait_for(DELIVERY, |text| text.contains(&id)).await {
        Waited::Came(time) => {
            findings.good(DELIVERED, format!("a message came after {} ms", time.as_millis()))?;
        }
        Waited::Cut(time) => {
            let detail = format!("the line was cut after {} ms", time.as_millis());
            return findings.fault(DELIVERED, detail, CUTS);
        }
        Waited::Silence => {
            let detail = format!("no message came within {} s", DELIVERY.as_secs());
            return findings.fault(DELIVERED, detail, BUFFERS);
        }
    }
    match socket.wait_for(patience, |text| text == "[]").await {
        Waited::Came(time) => {
            findings.good(HEARTBEAT, format!("it came after {:.1} s", time.as_secs_f64()))
        }
        Waited::Cut(time) => {
            let detail = format!("the line was cut after {:.1} s", time.as_secs_f64());
            findings.fault(HEARTBEAT, detail, CUTS)
        }
        Waited::Silence => {
            let detail = format!("none came within {:.1} s", patience.as_secs_f64());
            let advice = format!(
                "{BUFFERS} If the server's heartbeat_interval is longer, say so with --patience"
            );
            findings.fault(HEARTBEAT, detail, advice)
        }
    }
}

async fn long_poll(
    probe: &Probe,
    client: &Client,
    patience: Duration,
    findings: &mut Findings,
) -> Result<(), Failure> {
    const NAME: &str = "long poll";
    let Some(conn_id) = connect(client, NAME, findings).await? else { return Ok(()) };
    let (answer, id) = tokio::join!(probe.poll(conn_id, patience), publish(client));
    let _ = client.disconnect(conn_id).await;
    let id = match id {
        Ok(id) => id,
        Err(error) => return findings.fault(NAME, error.to_string(), "look into the server's log"),
    };
    match answer {
        Ok(answer) if answer.status == StatusCode::OK && answer.body.contains(&id) => {
            findings.good(NAME, "it brings a message")
        }
        Ok(answer) if answer.status == StatusCode::OK => {
            findings.fault(NAME, "it does not bring the message", "does a proxy cache /listen?")
        }
        Ok(answer) => {
            let detail = format!("it was answered with {}", answer.status);
            findings.fault(NAME, detail, CUTS)
        }
        Err(error) => findings.fault(NAME, told(&error), format!("{CUTS} {BUFFERS}")),
    }
}

async fn cross_origin(
    probe: &Probe,
    origin: Option<&str>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    const NAME: &str = "cross-origin";
    let Some(origin) = origin else {
        return findings.skipped(NAME, "--origin names a site whose pages should have access");
    };
    let answer = match probe.poll_from(origin).await {
        Ok(answer) => answer,
        Err(error) => return findings.fault(NAME, told(&error), CUTS),
    };
    match &answer.allowed_origins()[..] {
        [allowed] if allowed == "*" || allowed == origin => {
            findings.good(NAME, format!("pages of {origin} have access"))
        }
        [] => {
            let detail = format!("pages of {origin} have no access");
            let advice = "add it to the server's allow_cors, or empty that; a proxy must not \
                 remove Access-Control-Allow-Origin";
            findings.fault(NAME, detail, advice)
        }
        [allowed] => {
            let detail = format!("pages of {allowed} alone have access, not those of {origin}");
            findings.fault(NAME, detail, "that is said by a proxy: remove it there")
        }
        several => {
            let detail = format!("Access-Control-Allow-Origin comes {} times", several.len());
            let advice = "browsers refuse that: a proxy must not add what the server says already";
            findings.fault(NAME, detail, advice)
        }
    }
}
