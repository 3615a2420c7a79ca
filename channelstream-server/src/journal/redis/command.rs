//! Requests of the protocol as commands of Redis.

use channelstream_core::protocol::Epoch;
use channelstream_core::state::Position;
use channelstream_core::state::stored::{Levels, StoredError};
use indexmap::IndexMap;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{Cmd, Pipeline, RedisError, Value};
use thiserror::Error;

use super::checks::{Refusal, SETTINGS, Told};
use super::protocol::Settings;
use super::protocol::message::{Beginning, Entry, Run};
use super::tls;

/// The field of an entry of the stream.
pub(super) const FIELD: &str = "e";

/// The field of the head with the position of a snapshot that is of no use.
const UNUSABLE: &str = "unusable";

/// For how many microseconds a claim is good.
const CLAIM: u64 = 1_500_000;

/// The size of a part of a snapshot. To set a value stops Redis for as long as it is large.
pub(super) const CHUNK: usize = 512 << 10;

/// How long, in seconds, a part of a snapshot lives that no head names.
const CHUNK_LIVES: u64 = 600;

/// How long, in seconds, the parts of a snapshot live on after a newer one stands, for who reads them now.
const REPLACED_LIVES: u64 = 60;

/// What went wrong between this node and Redis.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[error("Redis cannot be reached: {0}")]
    Connect(String),
    #[error("TLS to Redis fails: {what}: {advice}")]
    Tls { what: String, advice: &'static str },
    #[error("the connection to Redis broke: {0}")]
    Broken(String),
    #[error("Redis does not answer in time")]
    Stalled,
    #[error("Redis has forgotten entries that it gave out")]
    WentBack,
    #[error(transparent)]
    Unfit(#[from] Refusal),
    #[error("Redis answers {0}")]
    Answers(String),
    #[error("Redis is a replica; the master is elsewhere")]
    Replica,
    #[error("the sentinels name another master")]
    Moved,
    #[error("what Redis answered is not {0}")]
    Unreadable(&'static str),
    #[error("an entry of the journal cannot be read: {0}")]
    Entry(#[from] StoredError),
    #[error(
        "the entry {at} was not written by a server ({why}): without it, the journal is begun anew in a few seconds, \
         from the state of the server that has come furthest; nothing else may write to the keys of the journal"
    )]
    Foreign { at: String, why: String },
    #[error(
        "the head of the journal is missing, though there are entries: a server that has their state would repair it. \
         If none lives, it is lost: delete the keys of the journal, and a new one begins"
    )]
    Headless,
    #[error("the head of the journal was changed by somebody else")]
    Head,
    #[error("the snapshot in Redis cannot be used: {0}")]
    Snapshot(String),
}

impl Trouble {
    pub(super) fn connect(error: &RedisError) -> Self {
        tls::trouble(error).unwrap_or_else(|| Self::Connect(plain(error)))
    }

    /// Returns `true` if somebody has put something else under a key of the journal.
    pub(super) fn is_wrong_type(&self) -> bool {
        matches!(self, Self::Answers(why) if why.starts_with("WRONGTYPE"))
    }

    pub(super) fn unreadable(what: &'static str) -> Self {
        Self::Unreadable(what)
    }
}

/// Returns what is wrong without what the crate says of it, on one line.
fn plain(error: &RedisError) -> String {
    let code = error.code().unwrap_or(error.category());
    match error.detail() {
        Some(detail) => format!("{code}: {}", detail.replace(['\r', '\n'], " ")),
        None => error.to_string().replace(['\r', '\n'], " "),
    }
}

/// The names of what is in Redis. All of it is in one slot of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) journal: String,
    pub(super) head: String,
    claims: String,
    snapshot: String,
}

impl Keys {
    pub(super) fn new(name: &str) -> Self {
        let key = |part: &str| format!("{{{name}}}:{part}");
        Self {
            journal: key("journal"),
            head: key("head"),
            claims: key("claims"),
            snapshot: key("snapshot"),
        }
    }

    /// Returns a pattern of all keys.
    pub(super) fn all(&self) -> String {
        self.head.replace(":head", ":*")
    }

    pub(super) fn chunk(&self, position: Position, number: usize) -> String {
        format!("{}:{}:{number}", self.snapshot, id(position))
    }

    /// Returns the keys of so many parts of a snapshot.
    pub(super) fn chunks(&self, position: Position, count: usize) -> impl Iterator<Item = String> {
        (0..count).map(move |number| self.chunk(position, number))
    }
}

/// The scripts, of which Redis knows each by its digest.
#[derive(Clone, Debug)]
pub(super) struct Scripts {
    begin: String,
    claim: String,
    put_back: String,
    save: String,
    view: String,
}

impl Scripts {
    /// Brings the scripts to Redis.
    pub(super) async fn load(line: &mut MultiplexedConnection) -> Result<Self, Trouble> {
        let mut pipeline = Pipeline::new();
        for script in [
            concat!(include_str!("last.lua"), include_str!("begin.lua")),
            concat!(include_str!("last.lua"), include_str!("claim.lua")),
            concat!(include_str!("last.lua"), include_str!("put_back.lua")),
            concat!(include_str!("last.lua"), include_str!("save.lua")),
            concat!(include_str!("last.lua"), include_str!("view.lua")),
        ] {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let digests = run(line, &pipeline).await?;
        let mut digests = digests.into_iter().map(text);
        let mut next = || digests.next().unwrap_or(Err(Trouble::Unreadable("a digest")));
        Ok(Self { begin: next()?, claim: next()?, put_back: next()?, save: next()?, view: next()? })
    }
}

/// What makes commands of requests.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub(super) keys: Keys,
    pub(super) scripts: Scripts,
    /// The levels that this node knows.
    pub(super) known: Levels,
    /// The number of this node.
    pub(super) node: u64,
}

impl Maker {
    fn view(&self) -> Cmd {
        script(&self.scripts.view, [&self.keys.journal, &self.keys.head])
    }

    pub(super) fn meet(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        pipeline.cmd("INFO").arg("server").arg("replication");
        pipeline.add_command(self.view());
        pipeline
    }

    pub(super) fn append(&self, pipeline: &mut Pipeline, epoch: Epoch, entry: &Entry) {
        let id = format!("{}-*", epoch.get());
        let command = pipeline.cmd("XADD").arg(&self.keys.journal).arg("NOMKSTREAM");
        command.arg(id).arg(FIELD).arg(&entry.bytes[..]);
    }

    pub(super) fn put_back(&self, after: Position, entries: &[(Position, Entry)]) -> Pipeline {
        let mut command = script(&self.scripts.put_back, [&self.keys.journal]);
        command.arg(id(after));
        for (position, entry) in entries {
            command.arg(id(*position)).arg(&entry.bytes[..]);
        }
        let mut pipeline = Pipeline::new();
        pipeline.add_command(command);
        pipeline
    }

    pub(super) fn read(&self, after: Position, waits: bool, most: usize) -> Pipeline {
        let mut pipeline = Pipeline::new();
        let command = pipeline.cmd("XREAD").arg("COUNT").arg(most);
        if waits {
            let wait = u64::try_from(Settings::READ_WAITS.as_millis()).unwrap_or(u64::MAX);
            command.arg("BLOCK").arg(wait);
        }
        command.arg("STREAMS").arg(&self.keys.journal).arg(id(after));
        // A journal that somebody has put in the place of this one gives the same numbers to other entries.
        pipeline.cmd("HGET").arg(&self.keys.head).arg("epoch");
        pipeline
    }

    /// Entries behind a position, up to another.
    pub(super) fn range(&self, after: Position, to: Position, most: usize) -> Pipeline {
        let mut pipeline = Pipeline::new();
        let command = pipeline.cmd("XRANGE").arg(&self.keys.journal).arg(format!("({}", id(after)));
        command.arg(id(to)).arg("COUNT").arg(most);
        pipeline
    }

    pub(super) fn claim(&self, run: &Run, position: Position) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.atomic();
        let mut claim = script(&self.scripts.claim, [&self.keys.claims]);
        claim.arg(run.to_string()).arg(self.node.to_string()).arg(id(position)).arg(CLAIM);
        pipeline.add_command(claim);
        pipeline.add_command(self.view());
        pipeline
    }

    /// Begins an epoch. The parts of the snapshot that replaces everything, if there is one, are in Redis.
    pub(super) fn begin(
        &self,
        beginning: &Beginning,
        epoch: Epoch,
        entry: &[u8],
        chunks: usize,
    ) -> Pipeline {
        let mut keys = vec![self.keys.journal.clone(), self.keys.head.clone()];
        keys.extend(self.keys.chunks(beginning.after, chunks));
        let mut command = script(&self.scripts.begin, &keys);
        let mut epochs = beginning.epochs.clone();
        epochs.push((epoch, beginning.after));
        command.arg(beginning.seen.map_or_else(String::new, |seen| seen.get().to_string()));
        command.arg(if beginning.anywhere {
            "*".to_owned()
        } else {
            beginning.end.map_or_else(String::new, id)
        });
        command.arg(epoch.get().to_string()).arg(beginning.run.to_string());
        command.arg(epochs_as_text(&epochs)).arg(entry);
        command.arg(if chunks > 0 { id(beginning.after) } else { String::new() });
        let mut pipeline = Pipeline::new();
        pipeline.add_command(command);
        pipeline
    }

    /// Stores a part of a snapshot, for a while.
    pub(super) fn store_chunk(&self, position: Position, number: usize, part: &[u8]) -> Pipeline {
        let mut pipeline = Pipeline::new();
        let key = self.keys.chunk(position, number);
        pipeline.cmd("SET").arg(key).arg(part).arg("EX").arg(CHUNK_LIVES);
        pipeline
    }

    /// Makes a snapshot whose parts are in Redis the newest one.
    pub(super) fn save(&self, epoch: Epoch, position: Position, chunks: usize) -> Pipeline {
        let mut keys = vec![self.keys.journal.clone(), self.keys.head.clone()];
        keys.extend(self.keys.chunks(position, chunks));
        let mut command = script(&self.scripts.save, &keys);
        command.arg(epoch.get().to_string()).arg(id(position));
        let mut pipeline = Pipeline::new();
        pipeline.add_command(command);
        pipeline
    }

    /// Lets the parts of a snapshot end that was replaced.
    pub(super) fn let_go(&self, position: Position, chunks: usize) -> Pipeline {
        let mut pipeline = Pipeline::new();
        for key in self.keys.chunks(position, chunks) {
            pipeline.cmd("EXPIRE").arg(key).arg(REPLACED_LIVES);
        }
        pipeline
    }

    /// How many parts of a snapshot there are, and what the stream holds.
    pub(super) fn parts_and_stream(&self, position: Position, chunks: usize) -> Pipeline {
        let mut pipeline = Pipeline::new();
        let keys: Vec<_> = self.keys.chunks(position, chunks).collect();
        pipeline.cmd("EXISTS").arg(&keys[..]);
        pipeline.cmd("XINFO").arg("STREAM").arg(&self.keys.journal);
        pipeline
    }

    /// Notes in the head that the snapshot at this position is of no use, so that another one is made.
    pub(super) fn note_unusable(&self, position: Position) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HSET").arg(&self.keys.head).arg(UNUSABLE).arg(id(position));
        pipeline
    }

    /// The position of the snapshot that was found to be of no use last.
    pub(super) fn unusable(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HGET").arg(&self.keys.head).arg(UNUSABLE);
        pipeline
    }

    /// The list of epochs.
    pub(super) fn epochs(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HGET").arg(&self.keys.head).arg("epochs");
        pipeline
    }

    pub(super) fn newest_snapshot(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("HMGET").arg(&self.keys.head).arg("snapshot").arg("chunks");
        pipeline
    }

    pub(super) fn load_chunk(&self, position: Position, number: usize) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg(self.keys.chunk(position, number));
        pipeline
    }

    /// Where the journal ends.
    pub(super) fn end(&self) -> Pipeline {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(self.view());
        pipeline
    }
}

fn script<'a>(digest: &str, keys: impl IntoIterator<Item = &'a String>) -> Cmd {
    let keys: Vec<_> = keys.into_iter().collect();
    let mut command = redis::cmd("EVALSHA");
    command.arg(digest).arg(keys.len()).arg(&keys[..]);
    command
}

/// Sends a pipeline, and returns an answer to each of its commands.
pub(super) async fn run(
    line: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> Result<Vec<Value>, Trouble> {
    let (offset, count) =
        if pipeline.is_transaction() { (pipeline.len() + 1, 1) } else { (0, pipeline.len()) };
    let answers = line.req_packed_commands(pipeline, offset, count).await;
    let answers = answers.map_err(|error| {
        if error.code().is_some() {
            Trouble::Answers(plain(&error))
        } else {
            Trouble::Broken(plain(&error))
        }
    })?;
    if !pipeline.is_transaction() {
        return Ok(answers);
    }
    match answers.into_iter().next() {
        Some(Value::Array(answers)) if answers.len() == pipeline.len() => Ok(answers),
        Some(Value::ServerError(error)) => Err(refused(&error)),
        _ => Err(Trouble::Unreadable("the answers to a transaction")),
    }
}

/// Sends one command that has to succeed.
pub(super) async fn run_one(
    line: &mut MultiplexedConnection,
    pipeline: &Pipeline,
) -> Result<Value, Trouble> {
    right(run(line, pipeline).await?.pop().unwrap_or_default())
}

/// Asks Redis about itself.
pub(super) async fn told(line: &mut MultiplexedConnection) -> Result<Told, Trouble> {
    let mut asks = Pipeline::new();
    asks.cmd("INFO").arg(&["server", "memory", "persistence", "replication", "cluster"]);
    asks.cmd("CONFIG").arg("GET").arg(&SETTINGS);
    let mut answers = run(line, &asks).await?;
    let mut settings = IndexMap::new();
    // Not everybody may ask for settings.
    if let Some(Value::Array(parts)) = answers.pop() {
        let parts = parts.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        settings.extend(parts.as_chunks().0.iter().cloned().map(<(String, String)>::from));
    }
    Ok(Told { info: text(answers.pop().unwrap_or_default())?, settings })
}

/// Finds whether this node of Redis has the keys; if not, it may name the one that has.
pub(super) async fn ping(
    line: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<Option<(String, u16)>, Trouble> {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("EXISTS").arg(&keys.journal);
    match run(line, &pipeline).await?.pop() {
        Some(Value::ServerError(error)) if error.code() == "MOVED" => {
            let address = error.details().and_then(|details| details.split(' ').nth(1));
            let parts = address.and_then(|address| address.rsplit_once(':'));
            let place = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
            place.map(Some).ok_or_else(|| refused(&error))
        }
        Some(answer) => right(answer).map(|_| None),
        None => Err(Trouble::Unreadable("an answer")),
    }
}

pub(super) fn refused(error: &redis::ServerError) -> Trouble {
    Trouble::Answers(said(error))
}

/// Returns an error as Redis says it, on one line.
pub(super) fn said(error: &redis::ServerError) -> String {
    let details = error.details().unwrap_or_default().replace(['\r', '\n'], " ");
    format!("{} {details}", error.code()).trim_end().to_owned()
}

/// Returns the answer unless it is an error.
pub(super) fn right(answer: Value) -> Result<Value, Trouble> {
    match answer {
        Value::ServerError(error) => Err(refused(&error)),
        answer => Ok(answer),
    }
}

pub(super) fn is_out_of_memory(error: &redis::ServerError) -> bool {
    // A script reports the error of the command in it.
    error.code() == "OOM" || error.details().is_some_and(|details| details.contains("OOM "))
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, Trouble> {
    match right(value)? {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        _ => Err(Trouble::Unreadable("a text")),
    }
}

pub(super) fn text(value: Value) -> Result<String, Trouble> {
    String::from_utf8(bytes(value)?).map_err(|_| Trouble::Unreadable("a text"))
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, Trouble> {
    match right(value)? {
        Value::Array(values) => Ok(values),
        _ => Err(Trouble::Unreadable("a list")),
    }
}

/// Returns a position as the id of an entry of the stream.
pub(super) fn id(position: Position) -> String {
    format!("{}-{}", position.epoch.get(), position.number)
}

pub(super) fn epochs_as_text(epochs: &[(Epoch, Position)]) -> String {
    let epochs = epochs.iter().map(|(epoch, after)| format!("{}:{}", epoch.get(), id(*after)));
    epochs.collect::<Vec<_>>().join(" ")
}
