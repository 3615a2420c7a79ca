//! Servers of two releases on one journal, which know different levels. They are servers of this process, to which
//! other levels are told than it knows.

use std::fs;
use std::path::Path;

use channelstream_core::protocol::{Connect, InfoOptions};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use tokio::time::sleep;

use super::*;
use crate::config::{Journal, JournalSync};
use crate::journal::redis::tests::real::{Disk, Redis};
use crate::journal::redis::tests::{begin, in_redis};
use crate::node::Node;

const OLD: Levels = Levels { oldest: 1, newest: 1 };
const NEW: Levels = Levels { oldest: 1, newest: 2 };
const NEWEST: Levels = Levels { oldest: 2, newest: 3 };

/// Where servers keep their state.
#[derive(Default)]
struct Place {
    journal: Journal,
    shared: Option<SharedJournal>,
}

/// A server that runs.
struct Running {
    node: Node,
    handle: Handle,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServerError>>,
}

/// Returns all that an error says.
fn said(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what} does not happen");
        sleep(Duration::from_millis(20)).await;
    }
}

impl Place {
    async fn bind(&self, known: Levels, level: ClusterLevel) -> Result<Server, ServerError> {
        let config = Config {
            port: 0,
            journal: self.journal.clone(),
            cluster_level: level,
            shutdown_timeout: Duration::from_millis(200),
            ..Config::default()
        };
        loop {
            match Server::bind_knowing(Vec::new(), config.clone(), self.shared.as_ref(), known)
                .await
            {
                // What another test starts has the lock until it is another program.
                Err(error) if said(&error).contains("another process") => {
                    sleep(Duration::from_millis(5)).await;
                }
                bound => return bound,
            }
        }
    }

    /// Starts a server, and waits until it answers.
    async fn start_with(&self, known: Levels, level: ClusterLevel) -> Running {
        let running = Running::of(self.bind(known, level).await.unwrap());
        until("an answer", async || running.knows(&[]).await).await;
        running
    }

    async fn start(&self, known: Levels) -> Running {
        self.start_with(known, ClusterLevel::Raise).await
    }

    /// Returns what a server says that does not join.
    async fn refusal(&self, known: Levels) -> String {
        match self.bind(known, ClusterLevel::Raise).await {
            Err(error) => said(&error),
            Ok(server) => said(&Running::of(server).ended.await.unwrap().unwrap_err()),
        }
    }
}

impl Running {
    fn of(server: Server) -> Self {
        let (node, handle) = (server.app.node.clone(), server.handle());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { node, handle, stop, ended }
    }

    async fn stop(self) {
        drop(self.stop);
        self.ended.await.unwrap().unwrap();
    }

    async fn connect(&self, user: &str) {
        self.handle.connect(&Connect::new(user).channels([user])).await.unwrap();
    }

    /// Returns `true` if it answers, and knows the channels of these users.
    async fn knows(&self, users: &[&str]) -> bool {
        let info = self.handle.info(&InfoOptions::default()).await;
        info.is_ok_and(|info| users.iter().all(|user| info.channels.contains_key(*user)))
    }

    async fn level(&self) -> u32 {
        self.node.look(State::level).await.unwrap()
    }

    /// Waits until the servers that live have told that they know these levels.
    async fn until_told(&self, levels: &[u32]) {
        until("that all have told", async || {
            let told = self.node.look(|state| state.nodes().map(|row| row.level).collect());
            let mut told: Vec<u32> = told.await.unwrap();
            told.sort_unstable();
            told == levels
        })
        .await;
    }

    async fn until_at(&self, level: u32) {
        until("another level", async || self.level().await == level).await;
    }
}

/// Releases follow each other server by server, nothing is lost, and until all know the next level any server can go
/// back.
async fn roll(place: &Place) {
    let (one, two) = (place.start(OLD).await, place.start(OLD).await);
    one.connect("ann").await;
    let three = place.start(NEW).await;
    three.until_told(&[1, 1, 2]).await;
    three.connect("ben").await;
    one.stop().await;
    three.until_told(&[1, 2]).await;
    assert!(two.knows(&["ann", "ben"]).await && two.level().await == 1);
    // Back to the release before, and forth again.
    three.stop().await;
    let three = place.start(OLD).await;
    assert!(three.knows(&["ann", "ben"]).await);
    three.stop().await;
    let three = place.start(NEW).await;
    three.until_told(&[1, 2]).await;
    assert_eq!(three.level().await, 1);
    two.stop().await;
    three.until_at(2).await;
    three.connect("cat").await;
    let four = place.start(NEW).await;
    assert!(four.knows(&["ann", "ben", "cat"]).await && four.level().await == 2);
    let refused = place.refusal(OLD).await;
    assert!(
        refused.contains("level 2, but this program knows 1 to 1: start the release that"),
        "{refused}"
    );
    four.connect("dan").await;
    assert!(three.knows(&["dan"]).await);
    // The release after that, as soon as there is a snapshot at this level.
    let mut five = None;
    until("the release after that", async || {
        let Ok(server) = place.bind(NEWEST, ClusterLevel::Raise).await else { return false };
        let running = Running::of(server);
        until("an end or an answer", async || {
            running.ended.is_finished() || running.knows(&["ann", "dan"]).await
        })
        .await;
        five = (!running.ended.is_finished()).then_some(running);
        five.is_some()
    })
    .await;
    let five = five.unwrap();
    five.until_told(&[2, 2, 3]).await;
    three.stop().await;
    four.stop().await;
    five.until_at(3).await;
    assert!(five.knows(&["ann", "ben", "cat", "dan"]).await);
    five.stop().await;
}

/// Servers of the next release that are told to hold can all go back.
async fn hold(place: &Place) {
    let one = place.start_with(NEW, ClusterLevel::Hold).await;
    let two = place.start(NEW).await;
    two.until_told(&[1, 2]).await;
    two.connect("ann").await;
    two.stop().await;
    one.until_told(&[1]).await;
    let back = place.start(OLD).await;
    assert!(back.knows(&["ann"]).await && back.level().await == 1);
    back.stop().await;
    one.stop().await;
}

#[tokio::test]
async fn two_releases_on_one_redis() {
    let redis = Redis::start(Disk::None, &[]);
    begin(&redis).await;
    roll(&Place { journal: in_redis(&redis), shared: None }).await;
}

#[tokio::test]
async fn two_releases_on_one_redis_whose_level_is_held() {
    let redis = Redis::start(Disk::None, &[]);
    begin(&redis).await;
    hold(&Place { journal: in_redis(&redis), shared: None }).await;
}

#[tokio::test]
async fn two_releases_in_one_process() {
    roll(&Place { shared: Some(SharedJournal::new()), ..Place::default() }).await;
    hold(&Place { shared: Some(SharedJournal::new()), ..Place::default() }).await;
}

#[expect(clippy::disallowed_methods, reason = "a test may wait for files")]
fn contents(path: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    files.retain(|(path, _)| !path.ends_with("lock"));
    files.sort();
    files
}

#[tokio::test]
async fn a_server_with_files_raises_them_by_itself() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("journal");
    let journal = Journal::File { directory: directory.clone(), sync: JournalSync::Never };
    let place = Place { journal, shared: None };
    let one = place.start(OLD).await;
    one.connect("ann").await;
    one.stop().await;
    let two = place.start_with(NEW, ClusterLevel::Hold).await;
    two.until_told(&[1]).await;
    two.connect("ben").await;
    two.stop().await;
    let one = place.start(OLD).await;
    assert!(one.knows(&["ann", "ben"]).await && one.level().await == 1);
    one.stop().await;
    let two = place.start(NEW).await;
    two.until_at(2).await;
    two.connect("cat").await;
    two.stop().await;
    let before = contents(&directory);
    let refused = place.refusal(OLD).await;
    let expected =
        "level 2, but this program knows 1 to 1: start the release that raised the journal";
    assert!(refused.contains(expected), "{refused}");
    assert!(contents(&directory) == before, "files were changed");
    let two = place.start(NEW).await;
    assert!(two.knows(&["ann", "ben", "cat"]).await && two.level().await == 2);
    two.stop().await;
}

#[tokio::test]
async fn new_files_begin_at_the_newest_level_unless_it_is_held() {
    for (level, begins) in [(ClusterLevel::Raise, 2), (ClusterLevel::Hold, 1)] {
        let folder = TempDir::new().unwrap();
        let directory = folder.path().join("journal");
        let journal = Journal::File { directory, sync: JournalSync::Never };
        let place = Place { journal, shared: None };
        let one = place.start_with(NEW, level).await;
        assert_eq!(one.level().await, begins);
        one.stop().await;
    }
}

#[tokio::test]
async fn a_journal_in_memory_is_at_the_newest_level() {
    let one = Place::default().start(NEWEST).await;
    assert_eq!(one.level().await, 3);
    one.stop().await;
}
