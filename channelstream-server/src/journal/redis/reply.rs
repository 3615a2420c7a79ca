//! What Redis answers, read as what the protocol understands.

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored::decode;
use channelstream_core::state::{NodeId, Position};
use redis::Value;
use thiserror::Error;

use super::protocol::message::{Appended, Entry, Head, Run, View};

/// The reason why a line to Redis cannot be used.
#[derive(Debug, Error)]
pub(super) enum LineError {
    #[error(transparent)]
    Redis(#[from] redis::RedisError),
    /// Redis refuses what it should accept, perhaps because it is a replica now, or loading.
    #[error("Redis says: {0}")]
    Refused(String),
    /// Redis answers something else than what was asked for.
    #[error("what Redis holds cannot be read: {0}")]
    Unreadable(&'static str),
    #[error("the snapshot in Redis cannot be read: {0}")]
    Snapshot(#[from] channelstream_core::state::SnapshotError),
    /// It is a replica, which accepts nothing.
    #[error("Redis is a replica")]
    Replica,
}

/// Writes a position as an id of Redis.
pub(super) fn id(position: Position) -> String {
    format!("{}-{}", position.epoch.get(), position.number)
}

/// Reads an id of Redis.
pub(super) fn position(id: &[u8]) -> Result<Position, LineError> {
    let read = || {
        let (epoch, number) = std::str::from_utf8(id).ok()?.split_once('-')?;
        Some(Position { epoch: Epoch::new(epoch.parse().ok()?), number: number.parse().ok()? })
    };
    read().ok_or(LineError::Unreadable("an id"))
}

/// Writes a list of epochs, each with the last entry before it.
pub(super) fn epochs_text(epochs: &[(Epoch, Position)]) -> String {
    let epochs = epochs.iter().map(|(epoch, after)| format!("{}:{}", epoch.get(), id(*after)));
    epochs.collect::<Vec<_>>().join(" ")
}

fn epochs(text: &[u8]) -> Result<Vec<(Epoch, Position)>, LineError> {
    const WRONG: LineError = LineError::Unreadable("the list of epochs");
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    let epochs = text.split_ascii_whitespace().map(|word| {
        let (epoch, after) = word.split_once(':').ok_or(WRONG)?;
        Ok((Epoch::new(epoch.parse().map_err(|_| WRONG)?), position(after.as_bytes())?))
    });
    epochs.collect()
}

/// Reads which run of Redis it is: the process, and the life of its data as a master.
pub(super) fn run(server: Value, replication: Value) -> Result<Run, LineError> {
    let (server, replication) = (text(server)?, text(replication)?);
    let field = |info: &str, name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned()).ok_or(LineError::Unreadable("INFO"))
    };
    if field(&replication, "role")? != "master" {
        return Err(LineError::Replica);
    }
    let (run, life) = (field(&server, "run_id")?, field(&replication, "master_replid")?);
    Ok(Run::new(&format!("{run}:{life}")))
}

/// Reads the answers to `HGETALL head` and `XINFO STREAM journal`.
pub(super) fn view(head: Value, stream: Value) -> Result<View, LineError> {
    let head = pairs(head)?;
    let head = match field(&head, "epoch") {
        None => None,
        Some(_) => {
            let missing = LineError::Unreadable("the head");
            let (Some(run), Some(list)) = (field(&head, "run"), field(&head, "epochs")) else {
                return Err(missing);
            };
            let epochs = epochs(list)?;
            let (epoch, _) = *epochs.last().ok_or(missing)?;
            Some(Head { epoch, run: Run::new(&String::from_utf8_lossy(run)), epochs })
        }
    };
    let end = match stream {
        Value::ServerError(error)
            if error.details().is_some_and(|why| why.contains("no such key")) =>
        {
            None
        }
        stream => {
            let stream = pairs(checked(stream)?)?;
            let last = field(&stream, "last-generated-id");
            Some(position(last.ok_or(LineError::Unreadable("the stream"))?)?)
        }
    };
    Ok(View { head, end })
}

/// Reads the position and the number of chunks of the newest snapshot.
pub(super) fn snapshot(position_and_chunks: Value) -> Result<Option<(String, usize)>, LineError> {
    let values = list(position_and_chunks)?;
    let [position, chunks] = &values[..] else { return Err(LineError::Unreadable("the head")) };
    if *position == Value::Nil {
        return Ok(None);
    }
    let chunks = text(chunks.clone())?.parse().map_err(|_| LineError::Unreadable("the head"))?;
    Ok(Some((text(position.clone())?, chunks)))
}

/// Reads what became of an entry.
pub(super) fn appended(value: Value) -> Result<Appended, LineError> {
    match value {
        Value::Nil => Ok(Appended::Refused),
        Value::ServerError(error) => match error.code() {
            "OOM" | "MISCONF" | "NOREPLICAS" => Ok(Appended::Full),
            "ERR" if error.details().is_some_and(|why| why.contains("equal or smaller")) => {
                Ok(Appended::Refused)
            }
            _ => Err(LineError::Refused(error.to_string())),
        },
        _ => Ok(Appended::Done),
    }
}

/// Reads the answer to `XREAD`.
pub(super) fn entries(value: Value) -> Result<Vec<(Position, Entry)>, LineError> {
    const WRONG: LineError = LineError::Unreadable("the journal");
    let value = checked(value)?;
    if value == Value::Nil {
        return Ok(Vec::new());
    }
    let stream = list(value)?.into_iter().next().ok_or(WRONG)?;
    let entries = list(stream)?.into_iter().nth(1).ok_or(WRONG)?;
    let entries = list(entries)?.into_iter().map(|entry| {
        let mut parts = list(entry)?.into_iter();
        let (Some(id), Some(fields)) = (parts.next(), parts.next()) else { return Err(WRONG) };
        let bytes = bytes(list(fields)?.into_iter().nth(1).ok_or(WRONG)?)?;
        let envelope = decode(&bytes).map_err(|_| WRONG)?;
        Ok((position(&self::bytes(id)?)?, Entry::read(&envelope, Bytes::from(bytes))))
    });
    entries.collect()
}

/// Reads the answer of `claim.lua`.
pub(super) fn claims(value: Value) -> Result<Vec<(NodeId, Position)>, LineError> {
    let claims = pairs(checked(value)?)?.into_iter().map(|(node, claimed)| {
        let node = text(Value::BulkString(node))?;
        let node = node.parse().map_err(|_| LineError::Unreadable("a claim"))?;
        Ok((NodeId::new(node), position(&claimed)?))
    });
    claims.collect()
}

/// Returns the value, unless it is an error.
pub(super) fn checked(value: Value) -> Result<Value, LineError> {
    match value {
        Value::ServerError(error) => Err(LineError::Refused(error.to_string())),
        value => Ok(value),
    }
}

/// Returns `true` for the number 1, and `false` for 0 and for a Redis without memory.
pub(super) fn is_done(value: Value) -> Result<bool, LineError> {
    match value {
        Value::Int(number) => Ok(number > 0),
        Value::ServerError(error) if error.code() == "OOM" || error.to_string().contains("OOM") => {
            Ok(false)
        }
        value => checked(value).and(Err(LineError::Unreadable("a script's answer"))),
    }
}

/// Returns the parts of a list.
pub(super) fn list(value: Value) -> Result<Vec<Value>, LineError> {
    match checked(value)? {
        Value::Array(values) => Ok(values),
        _ => Err(LineError::Unreadable("a list")),
    }
}

/// Returns the bytes of a string.
pub(super) fn bytes(value: Value) -> Result<Vec<u8>, LineError> {
    match checked(value)? {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::VerbatimString { text, .. } => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        _ => Err(LineError::Unreadable("a string")),
    }
}

fn text(value: Value) -> Result<String, LineError> {
    String::from_utf8(bytes(value)?).map_err(|_| LineError::Unreadable("a text"))
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Returns a list as pairs. Values that are no strings are empty.
fn pairs(value: Value) -> Result<Pairs, LineError> {
    let mut values = list(value)?.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (values.next(), values.next()) {
        pairs.push((bytes(name)?, bytes(value).unwrap_or_default()));
    }
    Ok(pairs)
}

fn field<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a [u8]> {
    pairs.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| &value[..])
}
