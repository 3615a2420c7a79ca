//! The checks, from the machine's own limits to whether pages may use the server.

use std::fs;
use std::time::{Duration, SystemTime};

use channelstream_client::{
    Client, Error, ErrorKind, InfoOptions, RetryPolicy, StatusCode, TimestampSigner,
};
use channelstream_signer::unix_now;
use reqwest::Version;

use super::listening::{self, CUTS, Guests};
use super::probe::{Answer, Probe, told};
use super::{Findings, Reach};
use crate::access::{self, DEFAULT_SECRET, Origin};
use crate::address::Address;
use crate::args::{AccessArgs, DoctorArgs};
use crate::failure::{Failure, NO_PROXY};

/// Signatures count for 60 s; from a few seconds on, a clock isn't kept right by anything.
const MOST_SKEW: u64 = 55;
const WORTH_TELLING: u64 = 5;
/// One descriptor for each listener, and a few more.
const FEW_FILES: u64 = 128;
const MANY_FILES: u64 = 10_000;

const SCHEME: &str = "a proxy has to tell the scheme; in nginx: proxy_set_header \
     X-Forwarded-Proto $scheme; and the server's trusted_proxies must have the proxy's address";
const HOST: &str = "a proxy has to tell the host; in nginx: proxy_set_header Host $http_host;";
const PREFIX: &str = "a proxy has to tell the prefix of paths; in nginx: proxy_set_header \
     X-Script-Name /the-prefix; with a proxy_pass without a path; and the server's trusted_proxies must \
     have the proxy's address";

/// The server that is examined, and what we have for it.
pub(super) struct Subject {
    address: Address,
    signer: TimestampSigner,
    origin: Origin,
    client: Client,
    probe: Probe,
    pub(super) guests: Guests,
}

impl Subject {
    pub(super) fn new(access: &AccessArgs) -> Result<Self, Failure> {
        let address = access::address(access)?;
        let (signer, origin) = access::signer(access)?;
        let client = access::builder(access, &address.url)?.signer(signer.clone());
        // A check tells what there is at once.
        let client = client.retries(RetryPolicy::never()).build();
        let client = client.map_err(|error| Failure::of_client(error, &origin))?;
        let roots = access::roots(access)?;
        let probe = Probe::new(&address.url, roots.as_deref(), client.proxy().is_some())?;
        let guests = Guests::new(client.clone());
        Ok(Self { address, signer, origin, client, probe, guests })
    }
}

pub(super) async fn all(
    subject: &Subject,
    args: &DoctorArgs,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let Subject { address, signer, origin, client, probe, guests } = subject;
    files(findings)?;
    if let Some(note) = address.note {
        findings.note("url", note, "write the scheme, so that nobody has to guess")?;
    }
    if let Some(proxy) = client.proxy() {
        let detail = format!("the server is asked through {proxy}, which the environment names");
        findings.note("proxy", detail, NO_PROXY)?;
    }

    let Some(answer) = reachable(probe, client, findings).await? else {
        return findings.skipped("the rest", "nothing more can be found out without the server");
    };
    let has_upgrades = http_version(&answer, findings)?;
    let skew = clock(&answer, findings)?;
    redirects(probe, findings).await?;
    let own = Own { signer, origin, is_default: is_default(signer) };
    if rights(probe, &own, skew, findings).await? {
        version(client, findings).await?;
        listening::all(probe, guests, args.patience, has_upgrades, findings).await?;
    } else {
        findings.reach = Reach::Refused;
        findings.skipped("listening", "websocket and long poll need an accepted signature")?;
    }
    cross_origin(probe, args.origin.as_deref(), findings).await
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
                        "is the server running, does --url name its scheme, host and port, and \
                         does a firewall let us through?"
                    }
                    Some(_) => {
                        "is the proxy there, does it let us through, and is the server running \
                         where --url says?"
                    }
                };
                findings.fault(NAME, told(&error), advice)?;
            }
            return Ok(None);
        }
    };
    probe.certificate(findings)?;
    let status = answer.status;
    if status == StatusCode::FORBIDDEN {
        findings.reach = Reach::Parts;
        findings.good(NAME, "it answers, and gives no rights without a signature")?;
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
        format!("it is sent on to {place}: should that be in --url?")
    } else if answer.asks_who() {
        findings.reach = Reach::Refused;
        "something before the server asks for a sign-in: let backends past it".to_owned()
    } else if status == StatusCode::NOT_ACCEPTABLE {
        findings.reach = Reach::Refused;
        format!("the server's enforce_https wants https: {SCHEME}")
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

/// Why the server is not reached, if it is by the scheme in its address.
async fn wrong_scheme(client: &Client) -> Option<Error> {
    let nothing = InfoOptions { include_users: false, ..InfoOptions::default() };
    let error = client.info(&nothing.channels([""; 0])).await.err()?;
    (error.kind() == ErrorKind::Scheme).then_some(error)
}

/// Whether the answer came over an HTTP that has upgrades. Which one a proxy speaks to the server,
/// only a websocket shows.
fn http_version(answer: &Answer, findings: &mut Findings) -> Result<bool, Failure> {
    const NAME: &str = "http version";
    let version = answer.version;
    if version >= Version::HTTP_11 {
        findings.good(NAME, format!("{version:?}"))?;
        return Ok(true);
    }
    let detail = format!("the answer came over {version:?}, which has no websockets");
    findings.fault(NAME, detail, "have the proxy before the server speak HTTP/1.1 to us")?;
    Ok(false)
}

/// Whether the server knows by which address we reach it, as its sign-in page shows.
async fn redirects(probe: &Probe, findings: &mut Findings) -> Result<(), Failure> {
    const NAME: &str = "redirects";
    let answer = match probe.admin().await {
        Ok(answer) => answer,
        Err(error) => return findings.skipped(NAME, told(&error)),
    };
    let ours = probe.address("/admin/sign_in");
    let told = answer.location().and_then(|place| ours.join(place).ok());
    // Anything else is said by a proxy, which may have its own mind about the admin area.
    let Some(told) = told.filter(|told| told.path().ends_with("/admin/sign_in")) else {
        let detail = format!("/admin, which would show them, was answered with {}", answer.status);
        return findings.skipped(NAME, detail);
    };
    let detail = format!("the server takes {told} for the address of {ours}");
    let mut advice = Vec::new();
    if told.scheme() != ours.scheme() {
        advice.push(SCHEME);
    }
    if (told.host_str(), told.port()) != (ours.host_str(), ours.port()) {
        advice.push(HOST);
    }
    if told.path() != ours.path() {
        advice.push(PREFIX);
    }
    match &advice[..] {
        [] => findings.good(NAME, "they lead to where we reach it"),
        // Reached from the inside, past the proxy that has TLS.
        [only] if *only == SCHEME && told.scheme() == "https" => {
            findings.note(NAME, detail, "is that as its http_scheme is meant to be?")
        }
        _ => findings.fault(NAME, detail, advice.join("; ")),
    }
}

/// Whether the clocks differ so much that signatures are refused.
fn clock(answer: &Answer, findings: &mut Findings) -> Result<bool, Failure> {
    const NAME: &str = "clock";
    let Some(skew) = answer.skew(SystemTime::UNIX_EPOCH + Duration::from_secs(unix_now())) else {
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
