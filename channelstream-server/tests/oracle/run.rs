//! Carries out a scenario's steps against a server and records what it saw.

use std::collections::HashMap;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::http::{self, CookieJar, Headers, Request, Response};
use crate::json::{Json, Object, object};
use crate::normal::Normaliser;
use crate::record::record as recorded;
use crate::scenario::Scenario;
use crate::signature;
use crate::socket::{Refused, Socket};
use crate::steps::{
    Http, Mark, Range, Set, Sleep, Until, WsClose, WsExpect, WsOpen, WsSend, listening, typed,
};
use crate::template::{self, Names, fill, fill_text};

const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a background request gets to reach the server.
const HEAD_START: Duration = Duration::from_millis(300);

/// Runs `scenario` against the server at `host` (`address:port`); gives the recorded steps.
pub(crate) fn run(scenario: &Scenario, host: &str) -> Result<Vec<Object>> {
    let mut run = Run::new(host, &scenario.secret);
    let mut records = Vec::new();
    for (number, step) in (1..).zip(&scenario.steps) {
        let kind = step.get("do").and_then(Json::as_str).context("a step must say what to do")?;
        let seen = run.step(kind, step).with_context(|| format!("step {number} ({kind})"))?;
        if let Some(seen) = seen {
            let mut record = object! { "step" => number, "do" => kind };
            record.extend(seen);
            records.push(record);
        }
    }
    Ok(records)
}

struct Run {
    host: String,
    secret: String,
    prefix: String,
    names: Names,
    normal: Normaliser,
    sockets: HashMap<String, Socket>,
    background: HashMap<String, (Object, JoinHandle<Answer>)>,
    marks: HashMap<String, Instant>,
    cookies: CookieJar,
}

/// How a request ended, and when.
struct Answer {
    response: Result<Response>,
    start: Instant,
    end: Instant,
}

impl Run {
    fn new(host: &str, secret: &str) -> Self {
        let base = format!("http://{host}");
        // seven letters, so that scenarios can share a server
        let letters = Uuid::new_v4().into_bytes().into_iter().take(7);
        let prefix: String =
            letters.map(|byte| char::from(b'a' + byte % 26)).chain(['.']).collect();
        Self {
            host: host.to_owned(),
            secret: secret.to_owned(),
            names: Names::from([("ns".into(), prefix.clone()), ("base".into(), base.clone())]),
            normal: Normaliser::new(&prefix, &base),
            prefix,
            sockets: HashMap::new(),
            background: HashMap::new(),
            marks: HashMap::new(),
            cookies: CookieJar::default(),
        }
    }

    /// Carries out one step; some leave nothing to record.
    fn step(&mut self, kind: &str, step: &Object) -> Result<Option<Object>> {
        match kind {
            "http" => self.http(step.clone()),
            "listen" => self.http(listening(step)),
            "join" => self.join(step).map(Some),
            "ws_open" => self.ws_open(&typed(step)?).map(Some),
            "ws_expect" => self.ws_expect(&typed(step)?).map(Some),
            "ws_send" => self.ws_send(typed(step)?),
            "ws_close" => self.ws_close(&typed(step)?).map(Some),
            "set" => self.set(typed::<Set>(step)?.vars),
            "sleep" => {
                thread::sleep(typed::<Sleep>(step)?.seconds);
                Ok(None)
            }
            "mark" => {
                self.marks.insert(typed::<Mark>(step)?.name, Instant::now());
                Ok(None)
            }
            _ => bail!("there is no such step"),
        }
    }

    fn set(&mut self, vars: Object) -> Result<Option<Object>> {
        for (name, value) in vars {
            let value = if value == "$uuid".into() {
                let uuid = Uuid::new_v4().to_string();
                self.normal.known(&uuid, &name);
                uuid
            } else {
                fill(&value, &self.names)?.plain()
            };
            self.names.insert(name, value);
        }
        Ok(None)
    }

    fn http(&mut self, settings: Object) -> Result<Option<Object>> {
        let step: Http = typed(&settings)?;
        let request = self.request(&step)?;
        let host = self.host.clone();
        let exchange = move || {
            let start = Instant::now();
            let response = http::exchange(&host, &request, TIMEOUT);
            Answer { response, start, end: Instant::now() }
        };
        if let Some(name) = &step.background {
            self.background.insert(name.clone(), (settings, thread::spawn(exchange)));
            thread::sleep(HEAD_START);
            return Ok(None);
        }
        self.report(&step, exchange()).map(Some)
    }

    fn join(&mut self, step: &Object) -> Result<Object> {
        let name = step.get("name").and_then(Json::as_str).context("a join needs a name")?;
        let (mut settings, thread) =
            self.background.remove(name).with_context(|| format!("nothing runs as {name}"))?;
        settings.extend(step.clone());
        settings.shift_remove("name");
        let answer = thread.join().map_err(|_| anyhow!("the request panicked"))?;
        self.report(&typed(&settings)?, answer)
    }

    fn request(&self, step: &Http) -> Result<Request> {
        let path = fill_text(&step.path, &self.names)?;
        let signed_path = path.split('?').next().unwrap_or_default();
        let mut names = self.names.clone();
        names.insert("sig".into(), signature::sign(&self.secret, &path, 0)?);
        names.insert("sig_bad".into(), signature::bad(&self.secret, &path)?);
        let mut headers = Headers::default();
        headers.set("Accept", "*/*");
        headers.set("User-Agent", "oracle");
        let mut body = String::new();
        if let Some(value) = &step.json {
            body = fill(value, &names)?.to_string();
            headers.set("Content-Type", "application/json");
        } else if let Some(text) = &step.raw {
            body = fill_text(text, &names)?;
            headers.set("Content-Type", "application/json");
        } else if let Some(fields) = &step.form {
            body = template::urlencode(&fill(fields, &names)?)?;
            headers.set("Content-Type", "application/x-www-form-urlencoded");
        }
        if let Some(value) = signature::from_setting(step.sign.as_ref(), &self.secret, signed_path)?
        {
            headers.set("x-channelstream-secret", value);
        }
        if step.cookies
            && let Some(cookies) = self.cookies.header(signed_path)
        {
            headers.set("Cookie", cookies);
        }
        for (name, value) in &step.headers {
            match value {
                Json::Null => headers.remove(name),
                value => headers.set(name, fill(value, &names)?.plain()),
            }
        }
        let query = template::urlencode(&fill(&step.query.clone().into(), &names)?)?;
        let path = if query.is_empty() { path } else { format!("{path}?{query}") };
        Ok(Request { method: step.method.clone(), path, headers, body: body.into_bytes() })
    }

    fn report(&mut self, step: &Http, answer: Answer) -> Result<Object> {
        let mut record = object! { "what" => format!("{} {}", step.method, step.path) };
        let response = match answer.response {
            Ok(response) => response,
            Err(error) => {
                record.insert("failed".into(), format!("{error:#}").into());
                return Ok(record);
            }
        };
        if step.cookies {
            self.cookies.keep(&self.host, &response.headers);
        }
        record.extend(recorded(step, &self.prefix, &response, &mut self.normal));
        let took =
            self.elapsed(step.elapsed.as_ref(), step.since.as_deref(), answer.start, answer.end)?;
        record.extend(took.map(|text| ("elapsed".into(), text.into())));
        let saved = Json::from_bytes(&response.body);
        for (name, pointer) in &step.save {
            let value = saved.as_ref().and_then(|body| body.pointer(pointer.as_str()?));
            self.names.insert(name.clone(), value.map_or_else(|| "missing".into(), Json::plain));
        }
        Ok(record)
    }

    fn ws_open(&mut self, step: &WsOpen) -> Result<Object> {
        let query = template::urlencode(&fill(&step.query.clone().into(), &self.names)?)?;
        let path = if query.is_empty() { "/ws".into() } else { format!("/ws?{query}") };
        let what = "ws_open";
        Ok(match Socket::open(&self.host, &path) {
            Ok(mut socket) => {
                // The handshake is answered before the listener is open, and what is sent to another server
                // meanwhile comes as catch-up. A pong comes after that. A socket that was ended sends none.
                let _ = socket.ping("is the listener open?", Duration::from_secs(3));
                let subprotocol = socket.subprotocol.clone();
                self.sockets.insert(step.ws.clone(), socket);
                object! { "what" => what, "handshake" => 101, "subprotocol" => subprotocol }
            }
            Err(Refused::Status(status)) => {
                object! { "what" => what, "handshake" => usize::from(status) }
            }
            Err(Refused::Failure(text)) => object! { "what" => what, "handshake" => text },
        })
    }

    fn socket(&mut self, name: &str) -> Result<&mut Socket> {
        self.sockets.get_mut(name).with_context(|| format!("no socket is open as {name}"))
    }

    fn ws_send(&mut self, step: WsSend) -> Result<Option<Object>> {
        let names = self.names.clone();
        let socket = self.socket(&step.ws)?;
        let sent = match (step.text, step.binary, step.ping) {
            (Some(text), None, None) => socket.send(Message::text(fill_text(&text, &names)?)),
            (None, Some(data), None) => socket.send(Message::binary(data.into_bytes())),
            (None, None, Some(data)) => match socket.ping(&data, Duration::from_secs(3)) {
                Ok(pong) => return Ok(Some(object! { "what" => "ping", "pong" => pong })),
                Err(error) => Err(error),
            },
            _ => bail!("one of text, binary and ping is to be sent"),
        };
        Ok(sent.err().map(|_| object! { "what" => "ws_send", "failed" => "closed" }))
    }

    fn ws_close(&mut self, step: &WsClose) -> Result<Object> {
        let closed = self.socket(&step.ws)?.close(step.code, &step.reason);
        Ok(object! { "what" => "ws_close", "closed" => closed })
    }

    /// Takes what came: up to `count` messages, or all of `within` seconds.
    fn ws_expect(&mut self, step: &WsExpect) -> Result<Object> {
        let what = "ws_expect";
        let Some(socket) = self.sockets.get(&step.ws) else {
            // its handshake was refused
            let closed = object! { "code" => Json::Null, "reason" => "" };
            return Ok(object! { "what" => what, "messages" => vec![], "closed" => closed });
        };
        let start = Instant::now();
        let open = {
            let inbox = socket.wait(step.within, |inbox| {
                let beats = inbox.frames.iter().filter(|f| f.messages.is_empty()).count();
                let messages = inbox.frames.iter().map(|f| f.messages.len()).sum::<usize>();
                match (step.until, step.heartbeats, step.count) {
                    (Some(Until::Closed), ..) => false,
                    (None, Some(wanted), _) => beats >= wanted,
                    (None, None, wanted) => wanted.is_some_and(|wanted| messages >= wanted),
                }
            });
            inbox.closed.is_none()
        };
        let end = Instant::now();
        if step.count.is_some() && open {
            // does more come than was asked for?
            thread::sleep(step.settle);
        }
        let (frames, closed) = socket.take();
        let (beats, frames): (Vec<_>, Vec<_>) =
            frames.into_iter().partition(|frame| frame.messages.is_empty());
        let sizes: Vec<_> = frames.iter().map(|frame| frame.messages.len()).collect();
        let messages = frames.into_iter().flat_map(|frame| frame.messages).collect::<Vec<_>>();
        let messages = self.normal.document(&messages.into());
        let mut record = object! { "what" => what, "messages" => messages, "closed" => closed };
        let mut add = |key: &str, value: Json| record.insert(key.into(), value);
        if sizes.iter().any(|size| *size != 1) {
            let sizes = sizes.into_iter().map(Json::from).collect::<Vec<_>>();
            add("messages_per_frame", sizes.into());
        }
        if step.heartbeats.is_some() && !beats.is_empty() {
            let mut texts: Vec<_> = beats.iter().map(|frame| frame.text.as_str()).collect();
            texts.sort_unstable();
            texts.dedup();
            let texts = texts.into_iter().map(Json::from).collect::<Vec<_>>();
            add("heartbeat_text", texts.into());
        }
        if let Some(range) = &step.gaps {
            let gaps: Vec<_> = beats.windows(2).map(|two| two[1].at - two[0].at).collect();
            let good = !gaps.is_empty() && gaps.iter().all(|gap| range.contains(*gap));
            let text = if good { format!("all within {range}") } else { format!("{gaps:.2?}") };
            add("heartbeat_gaps", text.into());
        }
        if let Some([low, high]) = step.heartbeats_between {
            let good = (low..=high).contains(&beats.len());
            let count = if good { format!("{low}..{high}").into() } else { beats.len().into() };
            add("heartbeats", count);
        }
        let took = self.elapsed(step.elapsed.as_ref(), step.since.as_deref(), start, end)?;
        record.extend(took.map(|text| ("elapsed".into(), text.into())));
        Ok(record)
    }

    /// Whether a step ended in its time, counted from its start or from a mark.
    fn elapsed(
        &self,
        range: Option<&Range>,
        since: Option<&str>,
        start: Instant,
        end: Instant,
    ) -> Result<Option<String>> {
        let Some(range) = range else { return Ok(None) };
        let start = match since {
            Some(mark) => *self.marks.get(mark).with_context(|| format!("no mark {mark}"))?,
            None => start,
        };
        let took = end - start;
        Ok(Some(if range.contains(took) {
            format!("within {range}")
        } else {
            format!("{took:.2?}, outside {range}")
        }))
    }
}
