//! The checks, from the limits of this machine to the access of pages.

use std::fs;
use std::time::{Duration, SystemTime};

use channelstream_client::{Client, Error, ErrorKind, InfoOptions, RetryPolicy, StatusCode};
use channelstream_signer::unix_now;
use reqwest::Version;

use super::listening::{self, CUTS, Connections};
use super::probe::{Answer, Probe, describe};
use super::{Findings, Reach};
use crate::access::{self, Origin, Signing};
use crate::address::Address;
use crate::args::{AccessArgs, DoctorArgs};
use crate::failure::{Failure, NO_PROXY};

/// The skew in seconds from which signatures, which are valid for 60 s, are refused.
const MAX_SKEW: u64 = 55;
/// The skew in seconds from which a clock is evidently not synchronized.
const NOTABLE_SKEW: u64 = 5;
/// The limit of open files below which hardly any listener fits; each takes one descriptor.
const FEW_FILES: u64 = 128;
/// The limit of open files that needs no note.
const MANY_FILES: u64 = 10_000;

const SCHEME: &str = "a proxy must pass the scheme; in nginx: proxy_set_header \
     X-Forwarded-Proto $scheme; and the server's trusted_proxies must include the proxy's address";
const HOST: &str = "a proxy must pass the host; in nginx: proxy_set_header Host $http_host;";
const PREFIX: &str = "a proxy must pass the path prefix; in nginx: proxy_set_header \
     X-Script-Name /the-prefix; with a proxy_pass without a path; and the server's trusted_proxies must \
     include the proxy's address";

/// The server under examination, and the credentials for it.
pub(super) struct Subject {
    address: Address,
    signing: Signing,
    origin: Origin,
    client: Client,
    probe: Probe,
    pub(super) connections: Connections,
}

impl Subject {
    pub(super) fn new(access: &AccessArgs) -> Result<Self, Failure> {
        let address = access::address(access)?;
        let (signing, origin) = access::signing(access)?;
        let client = signing.clone().apply(access::builder(access, &address.url)?);
        // A check shows the state of the moment, so nothing is retried.
        let client = client.retries(RetryPolicy::never()).build();
        let client = client.map_err(|error| Failure::of_client(error, &origin))?;
        let roots = access::roots(access)?;
        let probe = Probe::new(&address.url, roots.as_deref(), client.proxy().is_some())?;
        let connections = Connections::new(client.clone());
        Ok(Self { address, signing, origin, client, probe, connections })
    }
}

pub(super) async fn all(
    subject: &Subject,
    args: &DoctorArgs,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let Subject { address, signing, origin, client, probe, connections } = subject;
    files(findings)?;
    if let Some(note) = address.note {
        findings.note("url", note, "add the scheme to the address")?;
    }
    if let Some(proxy) = client.proxy() {
        let detail = format!("requests go through {proxy}, which the environment sets");
        findings.note("proxy", detail, NO_PROXY)?;
    }

    let Some(answer) = reachable(probe, client, findings).await? else {
        return findings.skipped("the rest", "no further checks are possible without the server");
    };
    let has_upgrades = http_version(&answer, findings)?;
    let skew = clock(&answer, findings)?;
    redirects(probe, findings).await?;
    let secret = OwnSecret { signing, origin, is_default: signing.is_default() };
    if permissions(probe, &secret, skew, findings).await? {
        version(client, findings).await?;
        listening::all(probe, connections, args.patience, has_upgrades, findings).await?;
    } else {
        findings.reach = Reach::Refused;
        findings.skipped("listening", "websocket and long polling need an accepted signature")?;
    }
    cross_origin(probe, args.origin.as_deref(), findings).await
}

/// Checks the limit of open files for processes started from here.
fn files(findings: &mut Findings) -> Result<(), Failure> {
    const NAME: &str = "open files";
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let Some(soft) = line.and_then(|line| line.split_whitespace().next()) else {
        return findings.skipped(NAME, "this system does not report the limit");
    };
    let advice = "each listener takes one; raise the limit for the server (`ulimit -n 65536`, or \
         LimitNOFILE= in systemd)";
    let detail = format!("processes started from here may open {soft}");
    match soft.parse::<u64>() {
        Ok(limit) if limit < FEW_FILES => findings.fault(NAME, detail, advice),
        Ok(limit) if limit < MANY_FILES => findings.note(NAME, detail, advice),
        _ => findings.good(NAME, detail),
    }
}

/// Returns the answer to a request without a signature, if it is that of a channelstream server.
async fn reachable(
    probe: &Probe,
    client: &Client,
    findings: &mut Findings,
) -> Result<Option<Answer>, Failure> {
    const NAME: &str = "reachable";
    findings.reach = Reach::Nowhere;
    let answer = match probe.info(None).await {
        Ok(answer) => answer,
        Err(error) => {
            if let Some(error) = wrong_scheme(client).await {
                findings.fault(NAME, error.to_string(), "change the scheme in --url")?;
            } else if probe.certificate(findings)? {
                let advice = match client.proxy() {
                    None => {
                        "is the server running, does --url have its scheme, host and port, and \
                         does a firewall allow the connection?"
                    }
                    Some(_) => {
                        "is the proxy running, does it allow the connection, and is the server \
                         running at --url?"
                    }
                };
                findings.fault(NAME, describe(&error), advice)?;
            }
            return Ok(None);
        }
    };
    probe.certificate(findings)?;
    let status = answer.status;
    if status == StatusCode::FORBIDDEN {
        findings.reach = Reach::Parts;
        findings.good(NAME, "it answers, and refuses a request without a signature")?;
        return Ok(Some(answer));
    }
    if status == StatusCode::BAD_REQUEST
        && let Some(error) = wrong_scheme(client).await
    {
        findings.fault(NAME, error.to_string(), "change the scheme in --url")?;
        return Ok(None);
    }
    let detail = format!("a request without a signature was answered with {status}");
    let advice = if let Some(place) = answer.location() {
        format!("it redirects to {place}; should that be in --url?")
    } else if answer.requires_sign_in() {
        findings.reach = Reach::Refused;
        "something in front of the server requires a sign-in; exempt backends from it".to_owned()
    } else if status == StatusCode::NOT_ACCEPTABLE {
        findings.reach = Reach::Refused;
        format!("the server's enforce_https requires https: {SCHEME}")
    } else if status == StatusCode::NOT_FOUND {
        "is the path prefix in --url right, and does the proxy forward it as the server expects?"
            .to_owned()
    } else if status.is_server_error() {
        "a proxy answers, but cannot reach the server; is it running where the proxy expects it?"
            .to_owned()
    } else {
        "a channelstream server answers differently; check scheme, host, port and path".to_owned()
    };
    findings.fault(NAME, detail, advice)?;
    Ok(None)
}

/// Returns the error of a call if it is due to the scheme of the address.
async fn wrong_scheme(client: &Client) -> Option<Error> {
    let nothing = InfoOptions { include_users: false, ..InfoOptions::default() };
    let error = client.info(nothing.channels([""; 0])).await.err()?;
    (error.kind() == ErrorKind::Scheme).then_some(error)
}

/// Checks that the answer came over a version of HTTP that has upgrades. The version between a proxy
/// and the server shows only in the check of the websocket.
fn http_version(answer: &Answer, findings: &mut Findings) -> Result<bool, Failure> {
    const NAME: &str = "http version";
    let version = answer.version;
    if version >= Version::HTTP_11 {
        findings.good(NAME, format!("{version:?}"))?;
        return Ok(true);
    }
    let detail = format!("the answer came over {version:?}, which has no websockets");
    findings.fault(NAME, detail, "make the proxy in front of the server use HTTP/1.1")?;
    Ok(false)
}

/// Checks that the server knows the address by which it is reached, as the redirect to its sign-in
/// page shows.
async fn redirects(probe: &Probe, findings: &mut Findings) -> Result<(), Failure> {
    const NAME: &str = "redirects";
    let answer = match probe.admin().await {
        Ok(answer) => answer,
        Err(error) => return findings.skipped(NAME, describe(&error)),
    };
    let ours = probe.address("/admin/sign_in");
    let theirs = answer.location().and_then(|place| ours.join(place).ok());
    // Any other answer is a proxy's, which may guard the admin area by its own rules.
    let Some(theirs) = theirs.filter(|theirs| theirs.path().ends_with("/admin/sign_in")) else {
        let detail = format!("/admin, which would show them, was answered with {}", answer.status);
        return findings.skipped(NAME, detail);
    };
    let detail = format!("the server takes {theirs} for the address of {ours}");
    let mut advice = Vec::new();
    if theirs.scheme() != ours.scheme() {
        advice.push(SCHEME);
    }
    if (theirs.host_str(), theirs.port()) != (ours.host_str(), ours.port()) {
        advice.push(HOST);
    }
    if theirs.path() != ours.path() {
        advice.push(PREFIX);
    }
    match &advice[..] {
        [] => findings.good(NAME, "they lead to the address in use"),
        // The server may be reached from the inside, bypassing the proxy that terminates TLS.
        [only] if *only == SCHEME && theirs.scheme() == "https" => {
            findings.note(NAME, detail, "is its http_scheme set as intended?")
        }
        _ => findings.fault(NAME, detail, advice.join("; ")),
    }
}

/// Checks the clocks; returns `true` if they differ so much that signatures are refused.
fn clock(answer: &Answer, findings: &mut Findings) -> Result<bool, Failure> {
    const NAME: &str = "clock";
    let Some(skew) = answer.skew(SystemTime::UNIX_EPOCH + Duration::from_secs(unix_now())) else {
        findings.skipped(NAME, "the answer has no date")?;
        return Ok(false);
    };
    let way = if skew < 0 { "behind" } else { "ahead of" };
    let size = skew.unsigned_abs();
    let detail = format!("this machine's clock is {size} s {way} the server's");
    let advice = "signatures are valid for 60 s; synchronize both clocks by NTP";
    if size >= MAX_SKEW {
        findings.fault(NAME, detail, advice)?;
        return Ok(true);
    }
    if size >= NOTABLE_SKEW {
        findings.note(NAME, detail, advice)?;
    } else {
        findings.good(NAME, "in step with the server's")?;
    }
    Ok(false)
}

/// The secret under examination.
struct OwnSecret<'a> {
    signing: &'a Signing,
    origin: &'a Origin,
    is_default: bool,
}

/// Checks address, signature and secret; returns `true` if signed requests are accepted.
async fn permissions(
    probe: &Probe,
    own: &OwnSecret<'_>,
    skew: bool,
    findings: &mut Findings,
) -> Result<bool, Failure> {
    const ADDRESS: &str = "address";
    const SIGNATURE: &str = "signature";
    const SECRET: &str = "secret";
    let answer = match probe.info(Some(own.signing)).await {
        Ok(answer) => answer,
        Err(error) => {
            let advice = "see the logs of the server and of the proxy in front of it";
            findings.fault(SIGNATURE, describe(&error), advice)?;
            return Ok(false);
        }
    };
    match answer.status {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN => {
            let advice = "add it to the server's allow_posting_from; behind a proxy, the server \
                 sees it only if the proxy is in trusted_proxies. A proxy that removes \
                 x-channelstream-secret has the same effect";
            let detail = "the server grants this machine's address no permissions";
            findings.fault(ADDRESS, detail, advice)?;
            return Ok(false);
        }
        StatusCode::UNAUTHORIZED => {
            findings.good(ADDRESS, "allowed")?;
            if skew {
                let detail = "refused, as expected with clocks so far apart";
                findings.fault(SIGNATURE, detail, "set the clocks first")?;
                return Ok(false);
            }
            if answer.body.contains("require_signed_bodies") {
                let detail = "refused: the server wants whole requests to be signed";
                let advice = "use --sign-bodies, or sign_bodies = true in a profile";
                findings.fault(SIGNATURE, detail, advice)?;
                return Ok(false);
            }
            let detail = format!("refused: the secret differs from the server's ({})", own.origin);
            let advice = match !own.is_default && default_is_accepted(probe, own.signing).await {
                true => "the server has the well-known default secret; set its `secret`",
                false => "use the server's setting `secret`, by --secret-file or a profile",
            };
            findings.fault(SIGNATURE, detail, advice)?;
            return Ok(false);
        }
        status => {
            let detail = format!("a signed request was answered with {status}");
            let advice = "see the logs of the server and of the proxy in front of it";
            findings.fault(SIGNATURE, detail, advice)?;
            return Ok(false);
        }
    }
    findings.good(ADDRESS, "allowed")?;
    findings.good(SIGNATURE, "accepted")?;
    let advice = "anyone who can reach the server can publish with it; set a `secret` of your own";
    if own.is_default {
        findings.note(SECRET, "it is the well-known default", advice)?;
    } else if default_is_accepted(probe, own.signing).await {
        findings.fault(SECRET, "the well-known default is accepted as well", advice)?;
    } else {
        findings.good(SECRET, "not the default")?;
    }
    Ok(true)
}

/// Returns `true` if the server accepts the well-known default secret.
async fn default_is_accepted(probe: &Probe, own: &Signing) -> bool {
    let answer = probe.info(Some(&own.with_default())).await;
    answer.is_ok_and(|answer| answer.status == StatusCode::OK)
}

async fn version(client: &Client, findings: &mut Findings) -> Result<(), Failure> {
    const NAME: &str = "version";
    match client.admin_stats().await {
        Ok(stats) if stats.version == env!("CARGO_PKG_VERSION") => {
            findings.good(NAME, stats.version)
        }
        Ok(stats) => {
            let detail =
                format!("the server is {}, this is {}", stats.version, env!("CARGO_PKG_VERSION"));
            findings.note(NAME, detail, "use the same version of both")
        }
        Err(error) => {
            findings.note(NAME, error.to_string(), "does the proxy let /admin/admin.json through?")
        }
    }
}

async fn cross_origin(
    probe: &Probe,
    origin: Option<&str>,
    findings: &mut Findings,
) -> Result<(), Failure> {
    const NAME: &str = "cross-origin";
    let Some(origin) = origin else {
        return findings.skipped(NAME, "use --origin to check the access of a site's pages");
    };
    let answer = match probe.poll_from(origin).await {
        Ok(answer) => answer,
        Err(error) => return findings.fault(NAME, describe(&error), CUTS),
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
            let detail = format!("only pages of {allowed} have access, not those of {origin}");
            findings.fault(NAME, detail, "a proxy sets this header; remove it there")
        }
        several => {
            let detail = format!("Access-Control-Allow-Origin is sent {} times", several.len());
            let advice = "browsers reject that; a proxy must not add what the server sends already";
            findings.fault(NAME, detail, advice)
        }
    }
}
