//! `doctor` for a journal in Redis: whether it is reached, holds what it has to, and is asked in time.

use std::time::Duration;

use channelstream_core::protocol::{DateTime, Timestamp};
use channelstream_core::state::stored::Levels;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout};

use super::super::finding::Finding;
use super::answer::{self, field, number};
use super::checks::Told;
use super::command::{self, FIELD, Keys, Maker, Scripts, Trouble, list, text};
use super::snapshots;
use super::target::{Target, UrlError};
use crate::clock;
use crate::config::RedisJournal;

/// How long connecting may take. A server gives up sooner, and says so.
const CONNECT: Duration = Duration::from_secs(3);

/// How long all questions together may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long reading the state may take.
const REPLAY: Duration = Duration::from_secs(60);

/// How often it is asked how long an answer takes.
const PINGS: usize = 7;

/// An answer that takes longer is felt in each request, which waits for two.
const SLOW: Duration = Duration::from_millis(10);

/// Connecting, which takes a few answers, is given up soon after this.
const TOO_SLOW: Duration = Duration::from_millis(200);

const RIGHTS: &str = "give the user of redis_url what docs/operations.md lists";

/// A difference of clocks that is worth a note, and one with which signatures are refused.
const SKEW: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(55));

/// Examines the Redis of a journal. It changes nothing there.
pub(crate) async fn examine(journal: &RedisJournal) -> Vec<Finding> {
    let keys = Keys::new(&journal.name);
    let target = match Target::of(journal, keys.clone()) {
        Ok(target) => target,
        Err(error) => {
            let advice = match error {
                UrlError::Identity(_) => {
                    "change the files that redis_tls_cert and redis_tls_key name"
                }
                _ => "change redis_url, or the file that redis_url_file names",
            };
            return vec![Finding::fault("redis_url", error.to_string(), advice)];
        }
    };
    let mut findings = vec![Finding::good("redis_url", target.shown())];
    findings.extend(target.warnings());
    findings.extend(target.ask_sentinels().await.into_iter().map(sentinel));
    let opened = timeout(CONNECT, target.line()).await.unwrap_or(Err(Trouble::Stalled));
    let mut line = match opened {
        Ok((line, address)) => {
            findings.push(Finding::good("reachable", format!("it answers at {address}")));
            line
        }
        Err(trouble) => {
            findings.push(unreachable(&target, &trouble));
            findings
                .push(Finding::skipped("the rest", "no further checks are possible without Redis"));
            return findings;
        }
    };
    match timeout(PATIENCE, ask(&mut line, &keys, journal.replicas, &mut findings)).await {
        Ok(Ok(())) => match timeout(REPLAY, start(&mut line, &keys)).await {
            Ok(Ok(finding)) => findings.push(finding),
            Ok(Err(trouble)) => findings.push(unreachable(&target, &trouble)),
            Err(_) => findings.push(Finding::skipped(
                "start",
                format!("it takes longer than {} s to read the state", REPLAY.as_secs()),
            )),
        },
        Ok(Err(trouble)) => findings.push(unreachable(&target, &trouble)),
        Err(_) => findings.push(unreachable(&target, &Trouble::Stalled)),
    }
    findings
}

fn sentinel((address, answer): (String, Result<String, Trouble>)) -> Finding {
    const NAME: &str = "sentinel";
    match answer {
        Ok(master) => Finding::good(NAME, format!("{address} names {master}")),
        Err(trouble) => Finding::note(
            NAME,
            format!("{address}: {trouble}"),
            "bring it up, or take it out of redis_url: most sentinels have to agree on a new master",
        ),
    }
}

/// Says what to do about what keeps the server from Redis.
fn unreachable(target: &Target, trouble: &Trouble) -> Finding {
    let detail = match trouble {
        Trouble::Tls { what, .. } => format!("TLS fails: {what}"),
        trouble => trouble.to_string(),
    };
    let advice = match trouble {
        Trouble::Tls { advice, .. } => advice,
        Trouble::Connect(why) if why.contains("authentication failed") => {
            "correct the user and password in redis_url"
        }
        Trouble::Broken(_) if target.is_encrypted() => {
            "see the log of Redis. If it asks clients for certificates, name one in redis_tls_cert and \
             redis_tls_key that it accepts, or set tls-auth-clients no"
        }
        Trouble::Connect(_) | Trouble::Broken(_) | Trouble::Stalled => {
            "is Redis running, are host and port in redis_url right, does a firewall allow the connection? \
             If it speaks TLS only, use rediss://; if it speaks none, redis://"
        }
        Trouble::Answers(why) if why.starts_with("NOAUTH") => {
            "name user and password in redis_url: redis://USER:PASSWORD@HOST:PORT"
        }
        Trouble::Answers(why) if why.starts_with("NOPERM") => RIGHTS,
        Trouble::Answers(why) if why.starts_with("CLUSTERDOWN") => {
            "bring the Redis cluster up: redis-cli cluster info"
        }
        _ => "see the log of Redis",
    };
    Finding::fault("reachable", detail, advice)
}

async fn ask(
    line: &mut MultiplexedConnection,
    keys: &Keys,
    replicas: usize,
    findings: &mut Vec<Finding>,
) -> Result<(), Trouble> {
    findings.push(latency(line, keys).await?);
    match command::told(line).await {
        Ok(told) => {
            findings.extend(role(&told));
            for checked in [told.version(), told.eviction()] {
                findings.push(checked.unwrap_or_else(|refusal| refusal.finding()));
            }
            findings.extend([told.memory(), told.persistence(), told.replicas(replicas)]);
            findings.extend(cluster(&told, keys));
        }
        Err(Trouble::Answers(why)) => findings.push(Finding::fault(
            "settings",
            format!("Redis answers {why} to INFO, without which a server does not use it"),
            RIGHTS,
        )),
        Err(trouble) => return Err(trouble),
    }
    findings.extend(access(line, keys).await?);
    findings.push(clocks(line).await?);
    findings.push(content(line, keys).await?);
    Ok(())
}

/// Does what a server does that starts, to see whether it could.
async fn start(line: &mut MultiplexedConnection, keys: &Keys) -> Result<Finding, Trouble> {
    const NAME: &str = "start";
    let scripts = match Scripts::load(line).await {
        Err(Trouble::Answers(why)) => {
            return Ok(Finding::skipped(NAME, format!("Redis answers {why} to SCRIPT LOAD")));
        }
        scripts => scripts?,
    };
    let maker = Maker { keys: keys.clone(), scripts, known: Levels::KNOWN, node: 0 };
    let view = match command::run_one(line, &maker.end()).await {
        Ok(view) => answer::view(view)?,
        Err(Trouble::Answers(why)) => {
            return Ok(Finding::skipped(NAME, format!("Redis answers {why} to EVALSHA")));
        }
        Err(trouble) => return Err(trouble),
    };
    let end = view.end.unwrap_or_default();
    let Some(head) = view.head else {
        if view.end.is_none() {
            return Ok(Finding::good(NAME, "a server would begin with nothing"));
        }
        return Ok(no_start(keys, "there are entries and no head"));
    };
    let why = match snapshots::replay(line, &maker, &head, end).await {
        Ok(replayed) if end.epoch <= head.epoch => {
            let (size, from) =
                (super::checks::megabytes(replayed.size), command::id(replayed.from));
            let entries = replayed.entries;
            return Ok(Finding::good(
                NAME,
                format!(
                    "a server would begin with the snapshot of {size} at {from}, and {entries} entries"
                ),
            ));
        }
        Ok(_) => format!("the entry {} is of no epoch", command::id(end)),
        Err(snapshots::MakeError::Trouble(
            trouble @ (Trouble::Broken(_) | Trouble::Answers(_)),
        )) => {
            return Err(trouble);
        }
        Err(error) => error.to_string(),
    };
    Ok(no_start(keys, &why))
}

fn no_start(keys: &Keys, why: &str) -> Finding {
    let advice = format!(
        "servers that run repair this by themselves within half a minute: see their logs if they do not. If none \
         runs, its state is lost: delete the keys {}, and the first server begins anew",
        keys.all()
    );
    Finding::fault("start", format!("no server could start: {why}"), advice)
}

async fn latency(line: &mut MultiplexedConnection, keys: &Keys) -> Result<Finding, Trouble> {
    const NAME: &str = "latency";
    let mut times = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        let asked = Instant::now();
        command::ping(line, keys).await?;
        times.push(asked.elapsed());
    }
    times.sort_unstable();
    let (middle, longest) = (times[PINGS / 2], times[PINGS - 1]);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let detail = format!(
        "an answer takes {:.1} ms, of {PINGS} the longest took {:.1} ms",
        milliseconds(middle),
        milliseconds(longest)
    );
    let advice = "bring Redis and the servers closer together: each request waits for two answers";
    Ok(match middle {
        middle if middle >= TOO_SLOW => Finding::fault(NAME, detail, advice),
        middle if middle >= SLOW => Finding::note(NAME, detail, advice),
        _ => Finding::good(NAME, detail),
    })
}

fn role(told: &Told) -> Option<Finding> {
    let is_replica = field(&told.info, "role").is_some_and(|role| role != "master");
    is_replica.then(|| {
        let advice = "name the master in redis_url, or ask sentinels";
        Finding::fault("role", "this Redis is a replica, to which nothing can be written", advice)
    })
}

fn cluster(told: &Told, keys: &Keys) -> Option<Finding> {
    let is_cluster = field(&told.info, "cluster_enabled") == Some("1");
    is_cluster.then(|| {
        let (tag, _) = keys.journal.rsplit_once(':').unwrap_or((&keys.journal, ""));
        Finding::good("cluster", format!("all keys begin with {tag}, and are in one slot"))
    })
}

/// Finds which commands the user may not use, and whether Redis takes writes: each is queued in a
/// transaction that is discarded, so that none is carried out.
async fn access(line: &mut MultiplexedConnection, keys: &Keys) -> Result<Vec<Finding>, Trouble> {
    const NAME: &str = "access";
    let mut multi = Pipeline::new();
    multi.cmd("MULTI");
    // Without a transaction, commands would be carried out.
    if let Err(trouble) = command::run_one(line, &multi).await {
        let Trouble::Answers(why) = trouble else { return Err(trouble) };
        return Ok(vec![Finding::fault(NAME, format!("Redis answers {why} to MULTI"), RIGHTS)]);
    }
    let (names, mut pipeline) = everything(keys);
    pipeline.cmd("DISCARD");
    let answers = command::run(line, &pipeline).await?;
    let (mut forbidden, mut others) = (Vec::new(), Vec::new());
    for (name, answer) in names.iter().zip(answers) {
        let Value::ServerError(error) = answer else { continue };
        match error.code() {
            "NOPERM" => forbidden.push(*name),
            code => {
                let why = format!("{code} {}", error.details().unwrap_or_default());
                if !others.contains(&why) {
                    others.push(why);
                }
            }
        }
    }
    let (mut exec, mut discard) = (Pipeline::new(), Pipeline::new());
    exec.atomic().cmd("EXISTS").arg(&keys.journal);
    discard.cmd("DISCARD");
    match command::run(line, &exec).await {
        Ok(_) => {}
        Err(Trouble::Answers(_)) => {
            forbidden.push("EXEC");
            // Else what follows would be queued.
            command::run(line, &discard).await?;
        }
        Err(trouble) => return Err(trouble),
    }
    let mut findings = Vec::new();
    if !forbidden.is_empty() {
        let detail = format!("the user of redis_url may not use {}", forbidden.join(", "));
        findings.push(Finding::fault(NAME, detail, RIGHTS));
    }
    for why in others {
        let advice = match why.split(' ').next() {
            Some("OOM") => "raise maxmemory",
            Some("READONLY") => "name the master in redis_url, or ask sentinels",
            Some("NOREPLICAS") => "add replicas, or lower min-replicas-to-write",
            Some("MISCONF") => "make room on the disk of Redis, and see its log",
            _ => "see the log of Redis",
        };
        findings.push(Finding::fault(NAME, format!("Redis answers {why}"), advice));
    }
    if findings.is_empty() {
        findings.push(Finding::good(NAME, "all commands and keys of the journal are allowed"));
    }
    Ok(findings)
}

/// Returns each command that the journal needs, by its name, on keys that nothing is stored under.
fn everything(keys: &Keys) -> (Vec<&'static str>, Pipeline) {
    let key = &format!("{}:doctor", keys.head);
    let mut names = Vec::new();
    let mut pipeline = Pipeline::new();
    let mut add = |name: &'static str, arguments: &[&str]| {
        names.push(name);
        let mut words = name.split('|');
        let command = pipeline.cmd(words.next().unwrap_or_default());
        words.chain(arguments.iter().copied()).for_each(|argument| {
            command.arg(argument);
        });
    };
    add("EXISTS", &[key]);
    add("TYPE", &[key]);
    add("INFO", &["server"]);
    add("SCRIPT|LOAD", &["return 1"]);
    add("EVALSHA", &["e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "1", key]);
    add("XADD", &[key, "NOMKSTREAM", "1-*", FIELD, ""]);
    add("XREAD", &["COUNT", "1", "STREAMS", key, "0-0"]);
    add("XRANGE", &[key, "(0-0", "1-0", "COUNT", "1"]);
    add("XTRIM", &[key, "MINID", "0-0"]);
    add("XINFO|STREAM", &[key]);
    add("WAIT", &["0", "1"]);
    add("SET", &[key, "", "EX", "1"]);
    add("GET", &[key]);
    add("DEL", &[key]);
    add("EXPIRE", &[key, "1"]);
    add("PEXPIRE", &[key, "1"]);
    add("PERSIST", &[key]);
    add("HSET", &[key, "field", ""]);
    add("HGET", &[key, "field"]);
    add("HMGET", &[key, "field"]);
    add("HGETALL", &[key]);
    add("HDEL", &[key, "field"]);
    add("TIME", &[]);
    (names, pipeline)
}

async fn clocks(line: &mut MultiplexedConnection) -> Result<Finding, Trouble> {
    const NAME: &str = "clocks";
    let mut time = Pipeline::new();
    time.cmd("TIME");
    let asked = Instant::now();
    let answer = match command::run_one(line, &time).await {
        Ok(answer) => answer,
        Err(Trouble::Answers(why)) => {
            return Ok(Finding::skipped(NAME, format!("Redis answers {why} to TIME")));
        }
        Err(trouble) => return Err(trouble),
    };
    // It was read in the middle of that time, more or less.
    let ours = clock::now();
    let half = asked.elapsed() / 2;
    let theirs = time_of(answer)?;
    let ours = Timestamp::from_micros(ours.as_micros().saturating_sub(micros(half)));
    Ok(compare(ours, theirs))
}

fn compare(ours: Timestamp, theirs: Timestamp) -> Finding {
    const NAME: &str = "clocks";
    let (skew, word) = match ours >= theirs {
        true => (ours.since(theirs), "ahead of"),
        false => (theirs.since(ours), "behind"),
    };
    let detail = format!("this machine is {:.1} s {word} Redis", skew.as_secs_f64());
    let advice = "run a time service on both, such as chrony: timestamps of messages come from the \
                  servers, and signatures are good for 60 s";
    match skew {
        skew if skew >= SKEW.1 => Finding::fault(NAME, detail, advice),
        skew if skew >= SKEW.0 => Finding::note(NAME, detail, advice),
        _ => Finding::good(NAME, "this machine and Redis have the same time"),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Reads the time of Redis.
fn time_of(value: Value) -> Result<Timestamp, Trouble> {
    let parts = list(value)?.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
    let numbers = parts.iter().map(|part| part.parse::<i64>());
    match numbers.collect::<Result<Vec<_>, _>>().as_deref() {
        Ok([seconds, micros]) => {
            Ok(Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(*micros)))
        }
        _ => Err(Trouble::Unreadable("a time")),
    }
}

/// Tells whether there is a journal, so that a wrong name or database is seen.
async fn content(line: &mut MultiplexedConnection, keys: &Keys) -> Result<Finding, Trouble> {
    const NAME: &str = "journal";
    let mut asks = Pipeline::new();
    asks.cmd("HMGET").arg(&keys.head).arg("epoch").arg("chunks");
    let answer = match command::run_one(line, &asks).await {
        Ok(answer) => answer,
        Err(trouble) if trouble.is_wrong_type() => {
            let detail = format!("{} is no hash: somebody else has written it", keys.head);
            return Ok(Finding::fault(NAME, detail, "see the check of the start"));
        }
        Err(Trouble::Answers(why)) => {
            return Ok(Finding::skipped(NAME, format!("Redis answers {why} to HMGET")));
        }
        Err(trouble) => return Err(trouble),
    };
    let Some((epoch, chunks)) = epoch_and_chunks(answer)? else {
        return Ok(Finding::good(
            NAME,
            format!("there is no {} yet: the first server begins it", keys.journal),
        ));
    };
    let began = DateTime::from(Timestamp::from_micros(i64::try_from(epoch).unwrap_or(i64::MAX)));
    let size = super::checks::megabytes(chunks.saturating_mul(command::CHUNK) as u64);
    let snapshot = if chunks == 0 {
        "no snapshot yet".to_owned()
    } else {
        format!("a snapshot of up to {size}")
    };
    Ok(Finding::good(
        NAME,
        format!("{} is there, its newest epoch began at {began}Z, {snapshot}", keys.journal),
    ))
}

/// Reads the epoch of the head and the number of parts of its snapshot, if there is a head.
fn epoch_and_chunks(value: Value) -> Result<Option<(u64, usize)>, Trouble> {
    let mut parts = list(value)?.into_iter();
    let (Some(epoch), Some(chunks)) = (parts.next(), parts.next()) else {
        return Err(Trouble::Unreadable("a head"));
    };
    if epoch == Value::Nil {
        return Ok(None);
    }
    let epoch = text(epoch)?.parse().map_err(|_| Trouble::Unreadable("an epoch"))?;
    let chunks = if chunks == Value::Nil { 0 } else { number(&text(chunks)?)? };
    Ok(Some((epoch, chunks)))
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Status;
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_with_the_direction() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let later = |seconds| now.after(Duration::from_secs(seconds));
        assert_eq!(compare(now, later(1)).status, Status::Good);
        let (ahead, behind) = (compare(later(3), now), compare(now, later(3_600)));
        assert_eq!((ahead.status, behind.status), (Status::Note, Status::Fault));
        assert!(ahead.detail.contains("3.0 s ahead of Redis"), "{ahead:?}");
        assert!(behind.detail.contains("3600.0 s behind Redis"), "{behind:?}");
    }
}
