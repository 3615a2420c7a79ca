//! The journal on a disk of which everything may be expected.

mod damage;
mod levels;
mod lives;
mod segments;
mod turns;
mod writing;

use std::sync::Arc;

use channelstream_core::state::stored::Levels;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::tests::initial;
use super::super::{Appender, Opened, Reader, WriterError};
use super::dice::Dice;
use super::model::Model;
use super::recovery::{OpenError, Recovered, recover};
use super::start;
use crate::config::JournalSync;

/// Small, so that there are many segments and snapshots.
const MOST: u64 = 3000;

fn salt() -> u64 {
    crate::clock::salt()
}

fn open_at(disk: &Model) -> Result<Recovered, OpenError> {
    recover(Arc::new(disk.clone()), Levels::KNOWN, initial, MOST, salt)
}

/// A journal that is written by a task.
struct Running {
    appender: Appender,
    reader: Reader,
    stop: oneshot::Sender<()>,
    writer: JoinHandle<Result<(), WriterError>>,
}

fn run(recovered: Recovered, sync: JournalSync) -> Running {
    let opened = start(recovered, sync, Handle::current(), None);
    let Opened { appender, reader, writer, .. } = opened;
    let (stop, stopped) = oneshot::channel::<()>();
    let writer = tokio::spawn(writer.unwrap().run(async { drop(stopped.await) }));
    Running { appender, reader, stop, writer }
}

fn in_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(test)
}
