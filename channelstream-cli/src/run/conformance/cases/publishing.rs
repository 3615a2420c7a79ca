//! Cases of publishers.

use std::io;
use std::time::Duration;

use channelstream_signer::request::{Content, RequestSigner, Target};
use channelstream_signer::{TimestampSigner, unix_now};
use serde_json::{Value, json};

use crate::run::conformance::door::Visit;
use crate::run::conformance::events::{CHANNEL, USER, cursor, uuid};
use crate::run::conformance::stage::{SECRET, Stage};
use crate::run::conformance::verdict::{Deviation, Played};

/// The seconds for which a signature counts.
const COUNTS_FOR: u64 = 60;
/// What a server that is busy asks for.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The most requests by which a client tries one call.
const MOST_REQUESTS: usize = 50;
const BUSY: &str = "503 Service Unavailable";

pub(super) fn signed(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Known)?;
    publish(stage, 2, Keys::Known)?;
    end(stage)
}

pub(super) fn busy(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Known)?;
    order(stage, 2)?;
    let first = request(stage, 2)?;
    let (at, body, key) = (first.at, first.body.clone(), first.text("idempotency-key"));
    let header = format!("Retry-After: {}\r\n", RETRY_AFTER.as_secs());
    first.answer(BUSY, &header, &json!({ "message": "later", "outcome": "not_done" }))?;
    let second = request(stage, 2)?;
    let pause = second.at.duration_since(at);
    if pause < RETRY_AFTER {
        return Err(Deviation::new(format!("a pause of {RETRY_AFTER:?}"), format!("{pause:.2?}")));
    }
    is_the_same(&second, &body, &key)?;
    answer(second, Keys::Known, false)?;
    stage.told(&published(2))?;
    end(stage)
}

pub(super) fn refused(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Known)?;
    let field_errors = json!({ "0": { "channel": ["Length must be between 1 and 256."] } });
    let forbidden = json!({ "message": "No.", "code": "403 Forbidden", "title": "Forbidden" });
    let too_large = json!({ "message": "larger than max_body_size" });
    for (number, status, body) in [
        (2, "422 Unprocessable Content", &field_errors),
        (3, "403 Forbidden", &forbidden),
        (4, "413 Content Too Large", &too_large),
    ] {
        order(stage, number)?;
        request(stage, number)?.answer(status, "", body)?;
        stage.told_alone(&failed(number, Some(false)))?;
    }
    end(stage)
}

pub(super) fn in_doubt(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Known)?;
    order(stage, 2)?;
    let first = request(stage, 2)?;
    let (body, key) = (first.body.clone(), first.text("idempotency-key"));
    // It was done, and the answer is lost.
    cut(&first)?;
    if key.is_empty() {
        stage.told_alone(&failed(2, Some(true)))?;
        return end(stage);
    }
    let Some(second) = stage.told_or_visit(&failed(2, Some(true)))? else { return end(stage) };
    check(&second, 2)?;
    is_the_same(&second, &body, &key)?;
    let unknown = json!({ "message": "no answer in time", "outcome": "unknown" });
    second.answer(BUSY, "", &unknown)?;
    let Some(third) = stage.told_or_visit(&failed(2, Some(true)))? else { return end(stage) };
    check(&third, 2)?;
    is_the_same(&third, &body, &key)?;
    answer(third, Keys::Known, true)?;
    stage.told(&published(2))?;
    end(stage)
}

pub(super) fn no_keys(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Unknown)?;
    order(stage, 2)?;
    cut(&request(stage, 2)?)?;
    stage.told_alone(&failed(2, Some(true)))?;
    end(stage)
}

pub(super) fn gives_up(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Known)?;
    order(stage, 2)?;
    for _ in 0..MOST_REQUESTS {
        let Some(visit) = stage.told_or_visit(&failed(2, Some(false)))? else {
            return end(stage);
        };
        check(&visit, 2)?;
        visit.answer(BUSY, "", &json!({ "message": "later", "outcome": "not_done" }))?;
    }
    let expected = format!("no more than {MOST_REQUESTS} requests");
    Err(Deviation::new(expected, "it goes on"))
}

pub(super) fn long_wait(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Known)?;
    order(stage, 2)?;
    let busy = json!({ "message": "later", "outcome": "not_done" });
    request(stage, 2)?.answer(BUSY, "Retry-After: 3600\r\n", &busy)?;
    stage.told_alone(&failed(2, Some(false)))?;
    end(stage)
}

pub(super) fn redirect(stage: &mut Stage) -> Played {
    let elsewhere = stage.another_door()?;
    publish(stage, 1, Keys::Known)?;
    order(stage, 2)?;
    let header = format!("Location: {}/elsewhere\r\n", elsewhere.url);
    request(stage, 2)?.answer_as("307 Temporary Redirect", "text/html", &header, "")?;
    stage.told_alone(&failed(2, None))?;
    end(stage)
}

pub(super) fn answer_is_no_json(stage: &mut Stage) -> Played {
    publish(stage, 1, Keys::Known)?;
    order(stage, 2)?;
    let first = request(stage, 2)?;
    let (body, key) = (first.body.clone(), first.text("idempotency-key"));
    let mut visit = first;
    for _ in 0..MOST_REQUESTS {
        visit.answer_as("200 OK", "text/html", "", "<html>Welcome</html>")?;
        match stage.told_or_visit(&failed(2, Some(true)))? {
            None => return end(stage),
            Some(next) => {
                check(&next, 2)?;
                is_the_same(&next, &body, &key)?;
                visit = next;
            }
        }
    }
    let expected = format!("no more than {MOST_REQUESTS} requests");
    Err(Deviation::new(expected, "it goes on"))
}

/// Whether the server knows keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    Known,
    Unknown,
}

/// Lets the client publish a message, which succeeds.
fn publish(stage: &mut Stage, number: u32, keys: Keys) -> Played {
    order(stage, number)?;
    answer(request(stage, number)?, keys, false)?;
    stage.told(&published(number))
}

fn order(stage: &mut Stage, number: u32) -> Played {
    let order = json!({
        "do": "publish", "id": id(number), "url": stage.url, "secret": SECRET,
        "message": { "user": USER, "channel": CHANNEL, "message": { "number": number } },
    });
    stage.order(&order)
}

/// Stops the client, which asks nothing more.
pub(super) fn end(stage: &mut Stage) -> Played {
    stage.stop()?;
    stage.is_left_alone()
}

/// Waits for the request that publishes the message with this number.
fn request(stage: &mut Stage, number: u32) -> Played<Visit> {
    let visit = stage.visit(&format!("POST /message, of message {number}"))?;
    check(&visit, number)?;
    Ok(visit)
}

fn check(visit: &Visit, number: u32) -> Played {
    if (visit.method.as_str(), visit.path.as_str()) != ("POST", "/message") {
        return Err(Deviation::new("POST /message", visit.line()));
    }
    check_signature(visit)?;
    let sent: Value = serde_json::from_slice(&visit.body).unwrap_or_default();
    let message = &sent[0];
    let is_right = sent.as_array().is_some_and(|list| list.len() == 1)
        && message["user"] == USER
        && message["channel"] == CHANNEL
        && message["message"] == json!({ "number": number });
    if is_right {
        return Ok(());
    }
    let expected = format!("a list of one message, with {{\"number\":{number}}}");
    Err(Deviation::new(expected, String::from_utf8_lossy(&visit.body)))
}

/// Checks the signature in the form that the client chose.
pub(super) fn check_signature(visit: &Visit) -> Played {
    let wrong = |how: String| Err(Deviation::new("a valid signature", how));
    let whole = visit.header("x-channelstream-signature");
    if whole.is_empty() {
        let header = visit.text("x-channelstream-secret");
        if header.is_empty() {
            return wrong("none in x-channelstream-secret".to_owned());
        }
        let signer = TimestampSigner::new(SECRET);
        return match signer.unsign_within(&header, COUNTS_FOR, unix_now()) {
            Ok(_) => Ok(()),
            Err(error) => wrong(error.to_string()),
        };
    }
    let key = visit.header("idempotency-key");
    let target = Target { method: &visit.method, path: &visit.path, idempotency_key: key };
    match RequestSigner::new(SECRET).verify(whole, &target) {
        Err(error) => wrong(error.to_string()),
        Ok(verified) if verified.content != Content::of(&visit.body) => {
            wrong("that of another body".to_owned())
        }
        Ok(verified) => match verified.check_time(COUNTS_FOR, unix_now()) {
            Ok(()) => Ok(()),
            Err(error) => wrong(error.to_string()),
        },
    }
}

/// A repeat has the key and the body of the first request.
fn is_the_same(visit: &Visit, body: &[u8], key: &str) -> Played {
    if visit.body != body {
        return Err(Deviation::new("the body of the first request", "another one"));
    }
    let found = visit.text("idempotency-key");
    if found != key {
        return Err(Deviation::new(format!("Idempotency-Key: {key}"), found));
    }
    Ok(())
}

/// Answers as a server does that has taken the message.
fn answer(visit: Visit, keys: Keys, is_replayed: bool) -> Played {
    let sent: Value = serde_json::from_slice(&visit.body).unwrap_or_default();
    let number = sent[0]["message"]["number"].as_u64().and_then(|number| number.try_into().ok());
    let number = number.unwrap_or_default();
    let mut message = json!({
        "uuid": uuid(number), "user": USER, "channel": CHANNEL, "message": { "number": number },
        "timestamp": "2026-11-29T07:24:43.851497", "edited": null, "no_history": false,
        "pm_users": [], "exclude_users": [],
    });
    if let Some(uuid) = sent[0]["uuid"].as_str() {
        message["uuid"] = uuid.into();
    }
    let mut headers = String::new();
    if keys == Keys::Known {
        if visit.text("prefer").contains("return=representation") {
            message["recipients"] = 1.into();
            message["stored"] = true.into();
            headers.push_str("Preference-Applied: return=representation\r\n");
        }
        if !visit.header("idempotency-key").is_empty() {
            message["seq"] = cursor(number).into();
            headers.push_str(&format!("Idempotency-Replayed: {is_replayed}\r\n"));
        }
    }
    Ok(visit.answer("200 OK", &headers, &json!([message]))?)
}

fn cut(visit: &Visit) -> io::Result<()> {
    visit.stream.shutdown(std::net::Shutdown::Both)
}

fn published(number: u32) -> Value {
    json!({ "event": "published", "id": id(number) })
}

fn failed(number: u32, is_in_doubt: Option<bool>) -> Value {
    let mut failed = json!({ "event": "failed", "id": id(number) });
    if let Some(is_in_doubt) = is_in_doubt {
        failed["in_doubt"] = is_in_doubt.into();
    }
    failed
}

fn id(number: u32) -> String {
    format!("m{number}")
}
