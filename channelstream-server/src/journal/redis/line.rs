//! A line to Redis: turns what the protocol asks into commands, one after another.

use std::sync::Arc;

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::{Envelope, NodeId, State};
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::protocol::Settings;
use super::protocol::message::{Answer, Beginning, Entry, Line, Request};
use super::reply::{self, LineError};

const BEGIN: &str = include_str!("begin.lua");
const CLAIM: &str = include_str!("claim.lua");
const PUT_BACK: &str = include_str!("put_back.lua");
const SAVE: &str = include_str!("save.lua");

/// The most entries that are appended by one pipeline.
const APPENDS: usize = 256;

/// The most entries of one read.
const READS: usize = 512;

/// The size of the parts of a snapshot. Redis does nothing else while it takes one.
const CHUNK: usize = 512 << 10;

/// How long a chunk stays that no snapshot needs, in seconds.
const CHUNK_STAYS: u64 = 600;

/// How long a claim is good, in microseconds.
const CLAIM_IS_GOOD: u64 = 1_500_000;

/// Makes the envelope by which this node begins an epoch later than another one.
pub(super) type Begins = Arc<dyn Fn(Epoch, bool) -> Envelope + Send + Sync>;

/// The names of everything in Redis. They are in one slot of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    name: Arc<str>,
}

impl Keys {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.into() }
    }

    fn of(&self, part: &str) -> String {
        format!("{{{}}}:{part}", self.name)
    }

    fn journal(&self) -> String {
        self.of("journal")
    }

    fn head(&self) -> String {
        self.of("head")
    }

    fn chunks(&self, snapshot: &str, count: usize) -> Vec<String> {
        (0..count).map(|chunk| self.of(&format!("snapshot:{snapshot}:{chunk}"))).collect()
    }
}

/// What a line tells.
#[derive(Debug)]
pub(super) enum Heard {
    /// A part of the oldest request was done.
    Progress,
    Answer(Answer<Box<State>>),
    Broke(LineError),
}

/// One of the two lines of a session.
pub(super) struct LineTask {
    pub(super) line: Line,
    pub(super) session: u64,
    pub(super) node: NodeId,
    pub(super) connection: MultiplexedConnection,
    pub(super) keys: Keys,
    pub(super) begins: Begins,
    pub(super) heard: mpsc::Sender<(u64, Line, Heard)>,
}

impl LineTask {
    /// Carries out requests until there are no more, or one fails.
    pub(super) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        let mut batch = Vec::with_capacity(APPENDS);
        while requests.recv_many(&mut batch, APPENDS).await > 0 {
            let mut waiting = batch.drain(..).peekable();
            while let Some(request) = waiting.next() {
                let done = match request {
                    Request::Append { epoch, entry } => {
                        let mut entries = vec![(epoch, entry)];
                        while let Some(Request::Append { .. }) = waiting.peek()
                            && let Some(Request::Append { epoch, entry }) = waiting.next()
                        {
                            entries.push((epoch, entry));
                        }
                        self.append(entries).await
                    }
                    request => match self.carry_out(request).await {
                        Ok(answer) => self.tell(Heard::Answer(answer)).await,
                        Err(error) => Err(error),
                    },
                };
                if let Err(error) = done {
                    // Nobody hears it if the session is over.
                    let _ = self.tell(Heard::Broke(error)).await;
                    return;
                }
            }
        }
    }

    async fn tell(&self, heard: Heard) -> Result<(), LineError> {
        let told = self.heard.send((self.session, self.line, heard)).await;
        told.map_err(|_| LineError::Refused("nobody listens".to_owned()))
    }

    /// Sends commands at once, and returns an answer to each. Errors of Redis are among them.
    async fn send(&mut self, commands: &Pipeline) -> Result<Vec<Value>, LineError> {
        let count = commands.len();
        Ok(self.connection.send_packed_commands(commands, 0, count).await?)
    }

    /// Sends commands at once, and returns an answer to each.
    async fn ask<const N: usize>(&mut self, commands: &Pipeline) -> Result<[Value; N], LineError> {
        let values = self.send(commands).await?;
        values.try_into().map_err(|_| LineError::Unreadable("the number of answers"))
    }

    async fn append(&mut self, entries: Vec<(Epoch, Entry)>) -> Result<(), LineError> {
        let mut commands = redis::pipe();
        for (epoch, entry) in entries {
            // Where there is no journal, none is made: its entries would be others at the same places.
            let command = commands.cmd("XADD").arg(self.keys.journal()).arg("NOMKSTREAM");
            command.arg(format!("{}-*", epoch.get())).arg("e").arg(&entry.bytes[..]);
        }
        for value in self.send(&commands).await? {
            let appended = reply::appended(value)?;
            self.tell(Heard::Answer(Answer::Appended(appended))).await?;
        }
        Ok(())
    }

    pub(super) async fn carry_out(
        &mut self,
        request: Request,
    ) -> Result<Answer<Box<State>>, LineError> {
        let (journal, head) = (self.keys.journal(), self.keys.head());
        let mut commands = redis::pipe();
        match request {
            Request::Append { epoch, entry } => {
                let command = commands.cmd("XADD").arg(journal).arg("NOMKSTREAM");
                command.arg(format!("{}-*", epoch.get())).arg("e").arg(&entry.bytes[..]);
                let [value] = self.ask(&commands).await?;
                Ok(Answer::Appended(reply::appended(value)?))
            }
            Request::Meet => {
                commands.cmd("INFO").arg("server").cmd("INFO").arg("replication");
                commands.cmd("HGETALL").arg(head);
                commands.cmd("XINFO").arg("STREAM").arg(journal);
                let [server, replication, head, stream] = self.ask(&commands).await?;
                let run = reply::run(server, replication)?;
                Ok(Answer::Met { run, view: reply::view(head, stream)? })
            }
            Request::Read { after, waits } => {
                let command = commands.cmd("XREAD").arg("COUNT").arg(READS);
                if waits {
                    let millis = u64::try_from(Settings::READ_WAITS.as_millis());
                    command.arg("BLOCK").arg(millis.unwrap_or(u64::MAX));
                }
                command.arg("STREAMS").arg(journal).arg(reply::id(after));
                let [entries] = self.ask(&commands).await?;
                Ok(Answer::Entries(reply::entries(entries)?))
            }
            Request::Claim { run, position } => {
                let command = commands.cmd("EVAL").arg(CLAIM).arg(1).arg(self.keys.of("claims"));
                command.arg(run.to_string()).arg(self.node.get()).arg(reply::id(position));
                command.arg(CLAIM_IS_GOOD);
                commands.cmd("HGETALL").arg(head);
                commands.cmd("XINFO").arg("STREAM").arg(journal);
                let [claims, head, stream] = self.ask(&commands).await?;
                let (claims, view) = (reply::claims(claims)?, reply::view(head, stream)?);
                Ok(Answer::Claims { claims, view })
            }
            Request::PutBack { after, entries } => {
                let command = commands.cmd("EVAL").arg(PUT_BACK).arg(1).arg(journal);
                command.arg(reply::id(after));
                for (position, entry) in entries {
                    command.arg(reply::id(position)).arg(&entry.bytes[..]);
                }
                let [value] = self.ask(&commands).await?;
                reply::is_done(value)?;
                Ok(Answer::PutBack)
            }
            Request::Begin(beginning) => {
                let is_done = self.begin(*beginning).await?;
                Ok(Answer::Begun { is_done })
            }
            Request::Load => Ok(Answer::Loaded(self.load().await?)),
            Request::Save { epoch, position, snapshot } => {
                let position = reply::id(position);
                let chunks = self.store(&position, &snapshot).await?;
                let command = commands.cmd("EVAL").arg(SAVE).arg(chunks.len() + 2);
                command.arg(journal).arg(head).arg(&chunks[..]);
                command.arg(epoch.get()).arg(position);
                let [old] = self.ask(&commands).await?;
                let old = reply::list(old)?;
                if !old.is_empty()
                    && let Some((old, count)) = reply::snapshot(Value::Array(old))?
                {
                    let mut commands = redis::pipe();
                    commands.cmd("UNLINK").arg(&self.keys.chunks(&old, count)[..]);
                    self.send(&commands).await?;
                }
                Ok(Answer::Saved)
            }
        }
    }

    /// Stores a snapshot in chunks, and returns their names.
    async fn store(&mut self, position: &str, snapshot: &Bytes) -> Result<Vec<String>, LineError> {
        let chunks = self.keys.chunks(position, snapshot.chunks(CHUNK).len());
        for (name, chunk) in chunks.iter().zip(snapshot.chunks(CHUNK)) {
            let mut commands = redis::pipe();
            commands.cmd("SET").arg(name).arg(chunk).arg("EX").arg(CHUNK_STAYS);
            // Without memory there is no chunk, and the script that needs it does nothing.
            self.send(&commands).await?;
            self.tell(Heard::Progress).await?;
        }
        Ok(chunks)
    }

    async fn begin(&mut self, beginning: Beginning) -> Result<bool, LineError> {
        let Beginning { seen, end, run, above, after, mut epochs, alone, instead } = beginning;
        let envelope = (self.begins)(above, alone);
        let channelstream_core::state::Command::Begin { epoch, .. } = envelope.command else {
            return Err(LineError::Unreadable("the entry of an epoch"));
        };
        let entry = Entry::of(&envelope);
        epochs.push((epoch, after));
        let (snapshot, chunks) = match instead {
            None => (String::new(), Vec::new()),
            Some(bytes) => {
                let position = reply::id(after);
                let chunks = self.store(&position, &bytes).await?;
                (position, chunks)
            }
        };
        let mut commands = redis::pipe();
        let command = commands.cmd("EVAL").arg(BEGIN).arg(chunks.len() + 2);
        command.arg(self.keys.journal()).arg(self.keys.head()).arg(&chunks[..]);
        command.arg(seen.map(|seen| seen.get().to_string()).unwrap_or_default());
        command.arg(end.map(reply::id).unwrap_or_default());
        command.arg(epoch.get()).arg(run.to_string()).arg(reply::epochs_text(&epochs));
        command.arg(&entry.bytes[..]).arg(snapshot);
        let [value] = self.ask(&commands).await?;
        reply::is_done(value)
    }

    async fn load(
        &mut self,
    ) -> Result<Option<(channelstream_core::state::Order, Box<State>)>, LineError> {
        let mut commands = redis::pipe();
        commands.cmd("HMGET").arg(self.keys.head()).arg("snapshot").arg("chunks");
        let [newest] = self.ask(&commands).await?;
        let Some((position, count)) = reply::snapshot(newest)? else { return Ok(None) };
        let mut snapshot = Vec::new();
        for chunk in self.keys.chunks(&position, count) {
            let mut commands = redis::pipe();
            commands.cmd("GET").arg(chunk);
            let [value] = self.ask(&commands).await?;
            if value == Value::Nil {
                // A newer snapshot has taken its place.
                return Ok(None);
            }
            snapshot.extend(reply::bytes(value)?);
            self.tell(Heard::Progress).await?;
        }
        let restored = spawn_blocking(move || State::restore(&snapshot)).await;
        let state = restored.map_err(|_| LineError::Unreadable("the snapshot"))??;
        Ok(Some((state.order().clone(), Box::new(state))))
    }
}
