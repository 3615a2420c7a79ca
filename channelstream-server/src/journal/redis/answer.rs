//! What Redis answers, as the protocol takes it.

use bytes::Bytes;
use channelstream_core::protocol::Epoch;
use channelstream_core::state::stored;
use channelstream_core::state::{Envelope, NodeId, Position};
use redis::Value;

use super::command::{
    FIELD, Maker, Trouble, bytes, is_out_of_memory, list, refused, right, said, text,
};
use super::protocol::message::{Entry, Head, Kind, Run, View};

/// The most parts of a snapshot: 2 GiB. Somebody else may have written the number.
const MOST_CHUNKS: usize = 1 << 12;

fn position(id: &str) -> Result<Position, Trouble> {
    let parts = id.split_once('-').and_then(|(epoch, number)| {
        Some(Position { epoch: Epoch::new(epoch.parse().ok()?), number: number.parse().ok()? })
    });
    parts.ok_or(Trouble::Unreadable("a position"))
}

fn epochs(text: &str) -> Result<Vec<(Epoch, Position)>, Trouble> {
    let epochs = text.split(' ').map(|part| {
        let (epoch, after) = part.split_once(':').ok_or(Trouble::Unreadable("an epoch"))?;
        Ok((epoch_of(epoch)?, position(after)?))
    });
    epochs.collect()
}

/// Reads what the script of the view returns.
pub(super) fn view(value: Value) -> Result<View, Trouble> {
    let mut parts = list(value)?.into_iter().map(text);
    let mut next = || parts.next().unwrap_or(Err(Trouble::Unreadable("a view")));
    let (epoch, run, list, end) = (next()?, next()?, next()?, next()?);
    let head = if epoch.is_empty() { None } else { Some(head(&epoch, &run, &list)?) };
    let end = if end.is_empty() { None } else { Some(position(&end)?) };
    Ok(View { head, end })
}

/// Reads the newest epoch, if there is one.
pub(super) fn newest_epoch(value: Value) -> Result<Option<Epoch>, Trouble> {
    Ok(match value {
        // Somebody has put something else there.
        Value::ServerError(error) if error.code() == "WRONGTYPE" => None,
        Value::Nil => None,
        epoch => epoch_of(&text(epoch)?).ok(),
    })
}

fn epoch_of(text: &str) -> Result<Epoch, Trouble> {
    text.parse().map(Epoch::new).map_err(|_| Trouble::Unreadable("an epoch"))
}

fn head(epoch: &str, run: &str, list: &str) -> Result<Head, Trouble> {
    // A list that cannot be read is that of no order.
    let epochs = epochs(list).unwrap_or_default();
    Ok(Head { epoch: epoch_of(epoch)?, run: Run::new(run), epochs })
}

/// Reads which run of Redis this is. It is another one after a restart, and after each time that it was a
/// replica.
pub(super) fn run_of(info: &str) -> Result<Run, Trouble> {
    if field(info, "role") != Some("master") {
        return Err(Trouble::Replica);
    }
    match (field(info, "run_id"), field(info, "master_replid")) {
        (Some(run), Some(replication)) => Ok(Run::new(&format!("{run}.{replication}"))),
        _ => Err(Trouble::Unreadable("a run")),
    }
}

/// Returns a field of what `INFO` answers.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// What Redis says when it writes nothing, or not for this node, though it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoWrites {
    pub(super) said: String,
    pub(super) for_want_of_memory: bool,
}

/// What became of an entry that was appended.
#[derive(Debug)]
pub(super) enum Written {
    At(Position),
    /// There is no journal, or it has a later epoch.
    Refused,
    No(NoWrites),
}

/// Reads what became of an entry that was appended.
pub(super) fn written(value: Value) -> Result<Written, Trouble> {
    match value {
        Value::Nil => Ok(Written::Refused),
        Value::ServerError(error) if is_behind(&error) => Ok(Written::Refused),
        Value::ServerError(error) => match no_writes(&error) {
            Some(no) => Ok(Written::No(no)),
            None => Err(refused(&error)),
        },
        value => Ok(Written::At(position(&text(value)?)?)),
    }
}

fn no_writes(error: &redis::ServerError) -> Option<NoWrites> {
    let for_want_of_memory = is_out_of_memory(error);
    let has_code = ["NOREPLICAS", "MISCONF", "NOPERM"].contains(&error.code());
    let said = said(error);
    (for_want_of_memory || has_code).then_some(NoWrites { said, for_want_of_memory })
}

/// Checks that entries were put back, or that others were faster.
pub(super) fn put_back(value: Value) -> Result<(), Trouble> {
    match value {
        // Then no epoch begins either.
        Value::ServerError(error) if is_out_of_memory(&error) => Ok(()),
        value => right(value).map(drop),
    }
}

/// Redis has newer entries than the one that was to be appended.
fn is_behind(error: &redis::ServerError) -> bool {
    error.details().is_some_and(|details| details.contains("equal or smaller"))
}

/// Reads whether an epoch began. Redis without memory begins none.
pub(super) fn begun(value: Value) -> Result<bool, Trouble> {
    match value {
        Value::ServerError(error) if is_out_of_memory(&error) => Ok(false),
        value => match right(value)? {
            Value::Int(begun) => Ok(begun == 1),
            _ => Err(Trouble::Unreadable("a number")),
        },
    }
}

/// Reads what the script of saving returns: the snapshot that was replaced, and its number of parts.
pub(super) fn saved(value: Value) -> Result<Option<(Position, usize)>, Trouble> {
    let mut parts = list(value)?.into_iter().map(text);
    match (parts.next().transpose()?, parts.next().transpose()?) {
        // What somebody else has written there names nothing that could go.
        (Some(at), Some(chunks)) => Ok(count_of_chunks(&chunks)
            .zip(position(&at).ok())
            .map(|(chunks, position)| (position, chunks))),
        _ => Ok(None),
    }
}

/// Reads where the newest snapshot is, and its number of parts.
pub(super) fn newest_snapshot(value: Value) -> Result<Option<(Position, usize)>, Trouble> {
    let mut parts = list(value)?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(Value::Nil), _) | (_, Some(Value::Nil)) => Ok(None),
        (Some(at), Some(chunks)) => {
            let chunks = count_of_chunks(&text(chunks)?);
            match (position(&text(at)?), chunks) {
                (Ok(position), Some(chunks)) => Ok(Some((position, chunks))),
                _ => Err(Trouble::Snapshot("the head does not name its parts".to_owned())),
            }
        }
        _ => Err(Trouble::Unreadable("a snapshot's place")),
    }
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) length: u64,
    /// The oldest entry, if there is one.
    pub(super) first: Option<Position>,
    /// The newest entry that there ever was.
    pub(super) last: Position,
}

/// Reads how many parts of a snapshot there are, and what the stream holds.
pub(super) fn parts_and_stream(answers: Vec<Value>) -> Result<(usize, Stream), Trouble> {
    const WHAT: Trouble = Trouble::Unreadable("a stream");
    let mut answers = answers.into_iter();
    let parts = number(&text(answers.next().unwrap_or_default())?)?;
    let info = list(answers.next().unwrap_or_default())?;
    let value = |name: &str| {
        let mut pairs = info.as_chunks().0.iter();
        pairs.find_map(|[key, value]| (text(key.clone()).ok()? == name).then(|| value.clone()))
    };
    let length = text(value("length").ok_or(WHAT)?)?.parse().map_err(|_| WHAT)?;
    let last = id_of(value("last-generated-id").ok_or(WHAT)?)?;
    let first = match value("first-entry").ok_or(WHAT)? {
        Value::Nil => None,
        entry => Some(id_of(list(entry)?.into_iter().next().unwrap_or_default())?),
    };
    Ok((parts, Stream { length, first, last }))
}

fn count_of_chunks(text: &str) -> Option<usize> {
    number(text).ok().filter(|chunks| *chunks <= MOST_CHUNKS)
}

pub(super) fn number(text: &str) -> Result<usize, Trouble> {
    text.parse().map_err(|_| Trouble::Unreadable("a number"))
}

/// Reads the claims of all nodes.
pub(super) fn claims(value: Value) -> Result<Vec<(NodeId, Position)>, Trouble> {
    let parts = list(value)?.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let claims = parts.as_chunks().0.iter().map(|[node, at]| {
        let node = node.parse().map_err(|_| Trouble::Unreadable("a node"))?;
        Ok((NodeId::new(node), position(at)?))
    });
    claims.collect()
}

/// An entry as it was read, with what it says.
pub(super) type Found = (Position, Entry, Envelope);

/// Entries that were read, up to the first one that no node has written.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) found: Vec<Found>,
    pub(super) unreadable: Option<(Position, Trouble)>,
}

/// Reads the id of an entry.
fn id_of(value: Value) -> Result<Position, Trouble> {
    position(&text(value)?)
}

impl Maker {
    /// Reads entries as `XREAD` answers them; none if somebody has put something else in the place of the stream.
    pub(super) fn entries_of_stream(&self, value: Value) -> Result<Option<Entries>, Trouble> {
        match value {
            Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(None),
            Value::Nil => Ok(Some(Entries::default())),
            value => {
                let stream = list(value)?.pop().ok_or(Trouble::Unreadable("a stream"))?;
                self.entries(list(stream)?.pop().ok_or(Trouble::Unreadable("a stream"))?).map(Some)
            }
        }
    }

    /// Reads entries as `XRANGE` answers them.
    ///
    /// An entry of a level that is not known cannot be read either. If it is not nonsense, the entry that raised the
    /// journal to it is before it, and the state stops this node.
    pub(super) fn entries(&self, value: Value) -> Result<Entries, Trouble> {
        let mut entries = Entries::default();
        for entry in list(value)? {
            let mut parts = list(entry)?.into_iter();
            let at = id_of(parts.next().unwrap_or_default())?;
            match self.entry(at, parts.next().unwrap_or_default()) {
                Ok(found) => entries.found.push(found),
                Err(trouble) => {
                    entries.unreadable = Some((at, trouble));
                    break;
                }
            }
        }
        Ok(entries)
    }

    fn entry(&self, at: Position, fields: Value) -> Result<Found, Trouble> {
        let [name, value] =
            <[Value; 2]>::try_from(list(fields)?).map_err(|_| Trouble::Unreadable("an entry"))?;
        if bytes(name)? != FIELD.as_bytes() {
            return Err(Trouble::Unreadable("an entry"));
        }
        let bytes = Bytes::from(bytes(value)?);
        let envelope = stored::decode(&bytes, self.known)?;
        let (node, number, kind) = (envelope.node, envelope.number, Kind::of(&envelope.command));
        Ok((at, Entry { node, number, kind, bytes }, envelope))
    }
}
