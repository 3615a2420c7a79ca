//! Sharing: what a state holds in many places is written once, and is one value again when it is read.
//!
//! A snapshot begins with tables of the values that may be in many places, and names them by their
//! numbers from there on. What is shared is decided by the contents, so that equal states have equal
//! bytes, however they came about.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::LocalKey;

use indexmap::{IndexMap, IndexSet};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_with::de::DeserializeAsWrap;
use serde_with::ser::SerializeAsWrap;
use serde_with::{DeserializeAs, Same, SerializeAs};

use super::reply;
use super::values::{Json, JsonByKey};
use crate::protocol::{self, UserState};

/// A value that may be shared, with `F` as the form of its contents. In a snapshot it is its number; in
/// an entry, which shares nothing, the contents stand where they are.
pub(in crate::state) struct Shared<F>(PhantomData<F>);

/// A name of a user, a channel or a key.
pub(in crate::state) type Name = Shared<Same>;
pub(in crate::state) type Payload = Shared<Json>;
/// The state of a user, which is empty for most.
pub(in crate::state) type State = Shared<Arc<JsonByKey>>;
pub(in crate::state) type Message = Shared<Arc<reply::Message>>;

/// The values that have been read, by their numbers.
#[derive(Default)]
struct Read {
    names: Vec<Arc<str>>,
    payloads: Vec<protocol::Payload>,
    states: Vec<Arc<UserState>>,
    messages: Vec<Arc<protocol::Message>>,
}

/// The values that have been written.
#[derive(Default)]
struct Written {
    /// Their bytes, in the order of their numbers.
    tables: [IndexSet<Vec<u8>>; 4],
    /// Their numbers by their addresses: a message of many users is encoded once.
    numbers: IndexMap<(usize, *const ()), usize>,
}

thread_local! {
    // serde hands nothing through from a snapshot to the values in it.
    static WRITTEN: RefCell<Option<Written>> = const { RefCell::new(None) };
    static READ: RefCell<Option<Read>> = const { RefCell::new(None) };
}

/// What may be in many places of a state.
trait Share {
    /// The table that it is written to. The values of a table may name those of tables before it.
    const TABLE: usize;
    /// Returns the table that it is read from.
    fn read(tables: &mut Read) -> &mut Vec<Arc<Self>>;
}

impl Share for str {
    const TABLE: usize = 0;
    fn read(tables: &mut Read) -> &mut Vec<Arc<Self>> {
        &mut tables.names
    }
}

impl Share for RawValue {
    const TABLE: usize = 1;
    fn read(tables: &mut Read) -> &mut Vec<Arc<Self>> {
        &mut tables.payloads
    }
}

impl Share for UserState {
    const TABLE: usize = 2;
    fn read(tables: &mut Read) -> &mut Vec<Arc<Self>> {
        &mut tables.states
    }
}

impl Share for protocol::Message {
    const TABLE: usize = 3;
    fn read(tables: &mut Read) -> &mut Vec<Arc<Self>> {
        &mut tables.messages
    }
}

impl<T: Share + ?Sized, F: SerializeAs<Arc<T>>> SerializeAs<Arc<T>> for Shared<F> {
    fn serialize_as<S: Serializer>(source: &Arc<T>, serializer: S) -> Result<S::Ok, S::Error> {
        let address = (T::TABLE, Arc::as_ptr(source).cast());
        let known = |written: &Written| written.numbers.get(&address).copied();
        let Some(known) = WRITTEN.with_borrow(|written| written.as_ref().map(known)) else {
            return F::serialize_as(source, serializer);
        };
        if let Some(number) = known {
            return number.serialize(serializer);
        }
        let bytes = postcard::to_allocvec(&SerializeAsWrap::<Arc<T>, F>::new(source))
            .map_err(S::Error::custom)?;
        let number = WRITTEN.with_borrow_mut(|written| {
            let Written { tables, numbers } = written.get_or_insert_default();
            let (number, _) = tables[T::TABLE].insert_full(bytes);
            // What nobody else holds may be gone soon, and its address be that of another value.
            if Arc::strong_count(source) > 1 {
                numbers.insert(address, number);
            }
            number
        });
        number.serialize(serializer)
    }
}

impl<'de, T: Share + ?Sized, F: DeserializeAs<'de, Arc<T>>> DeserializeAs<'de, Arc<T>>
    for Shared<F>
{
    fn deserialize_as<D: Deserializer<'de>>(deserializer: D) -> Result<Arc<T>, D::Error> {
        if READ.with_borrow(Option::is_none) {
            return F::deserialize_as(deserializer);
        }
        let number = usize::deserialize(deserializer)?;
        READ.with_borrow_mut(|read| T::read(read.as_mut()?).get(number).cloned())
            .ok_or_else(|| D::Error::custom("there is no such shared value"))
    }
}

/// Ends the writing or reading of a snapshot, also when it fails.
struct Ends<T: 'static>(&'static LocalKey<RefCell<Option<T>>>);

impl<T> Drop for Ends<T> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// Appends the bytes of a value, behind tables of what is shared in it.
pub(super) fn write(value: &impl Serialize, bytes: &mut Vec<u8>) -> postcard::Result<()> {
    WRITTEN.set(Some(Written::default()));
    let _ends = Ends(&WRITTEN);
    let behind = postcard::to_allocvec(value)?;
    for table in WRITTEN.take().unwrap_or_default().tables {
        postcard::to_io(&table.len(), &mut *bytes)?;
        table.iter().for_each(|value| bytes.extend_from_slice(value));
    }
    bytes.extend_from_slice(&behind);
    Ok(())
}

/// Reads what [`write()`] wrote. Returns what goes on behind it as well.
pub(super) fn read<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> postcard::Result<(T, &'de [u8])> {
    READ.set(Some(Read::default()));
    let _ends = Ends(&READ);
    let rest = read_table::<str, Same>(bytes)?;
    let rest = read_table::<RawValue, Json>(rest)?;
    let rest = read_table::<UserState, Arc<JsonByKey>>(rest)?;
    let rest = read_table::<protocol::Message, Arc<reply::Message>>(rest)?;
    postcard::take_from_bytes(rest)
}

fn read_table<'de, T, F>(bytes: &'de [u8]) -> postcard::Result<&'de [u8]>
where
    T: Share + ?Sized,
    F: DeserializeAs<'de, Arc<T>>,
{
    let (count, mut rest) = postcard::take_from_bytes::<usize>(bytes)?;
    for _ in 0..count {
        let (value, behind) = postcard::take_from_bytes::<DeserializeAsWrap<Arc<T>, F>>(rest)?;
        rest = behind;
        READ.with_borrow_mut(|read| {
            T::read(read.get_or_insert_default()).push(value.into_inner());
        });
    }
    Ok(rest)
}
