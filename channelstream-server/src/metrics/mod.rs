//! Metrics: everything that the server counts or measures, in one table.
//!
//! The table [`METRICS`] and the structs [`Metrics`] and [`Readings`] are generated from the list
//! below. A value under `counted` is an atomic of [`Metrics`], which the code that observes the event
//! increments, and one under `observed` a type of its own there. A value under `read` lives elsewhere;
//! [`Readings`] takes it along when somebody asks. Every outlet iterates over [`Metrics::samples`], so
//! that a new row appears in all of them.

pub(crate) mod delivery;
pub(crate) mod exposition;
pub(crate) mod histogram;
pub(crate) mod json;
pub(crate) mod process;
pub(crate) mod requests;
mod sample;
pub(crate) mod signatures;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use channelstream_core::protocol::GapReason;

use crate::listener::outbox::Ending;
use delivery::Delivery;
use histogram::Histogram;
use requests::Requests;
use sample::Reading;
pub(crate) use sample::{Sample, Value};
use signatures::Signatures;

/// One row of the table.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Snake case with a unit; a counter ends with `_total`.
    pub(crate) name: &'static str,
    /// The labels that distinguish the samples of one name.
    pub(crate) labels: &'static [&'static str],
    /// The value of the only label, where the row has one; else there is a sample for each value.
    pub(crate) label_value: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) unit: &'static str,
    /// What it counts or measures, in one sentence.
    pub(crate) meaning: &'static str,
}

/// How a value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows, from zero at the start of the server.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How many observations were at most as large as each of some bounds, since the start.
    Histogram,
    /// It is 1, and its labels say what does not change.
    Info,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// Counts events; shared by all threads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Generates the table and the structs from one list.
macro_rules! metrics {
    (
        counted { $($counter:ident = $c_name:literal $([$c_label:literal = $c_value:literal])?,
            $c_unit:literal, $c_meaning:literal;)* }
        observed { $($observed:ident: $o_type:ty = $o_kind:ident $o_name:literal
            [$($o_label:literal),*], $o_unit:literal, $o_meaning:literal;)* }
        read { $($reading:ident: $type:ty = $kind:ident $r_name:literal $([$r_label:literal])?,
            $r_unit:literal, $r_meaning:literal;)* }
    ) => {
        /// What one server counts and observes.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(#[doc = $c_meaning] pub(crate) $counter: Counter,)*
            $(#[doc = $o_meaning] pub(crate) $observed: $o_type,)*
        }

        /// The values that live elsewhere, as they are at one moment.
        #[derive(Debug)]
        pub(crate) struct Readings {
            $(#[doc = $r_meaning] pub(crate) $reading: $type,)*
        }

        /// Every metric of the server.
        pub(crate) static METRICS: &[Metric] = &[
            $(Metric {
                name: $c_name,
                labels: &[$($c_label)?],
                label_value: [$(Some($c_value),)? None][0],
                kind: Kind::Counter,
                unit: $c_unit,
                meaning: $c_meaning,
            },)*
            $(Metric {
                name: $o_name,
                labels: &[$($o_label),*],
                label_value: None,
                kind: Kind::$o_kind,
                unit: $o_unit,
                meaning: $o_meaning,
            },)*
            $(Metric {
                name: $r_name,
                labels: &[$($r_label)?],
                label_value: None,
                kind: Kind::$kind,
                unit: $r_unit,
                meaning: $r_meaning,
            },)*
        ];

        impl Metrics {
            /// All metrics with their values, in the order of the table.
            pub(crate) fn samples(&self, readings: &Readings) -> Vec<Sample> {
                let mut samples = Vec::with_capacity(2 * METRICS.len());
                let mut metrics = METRICS.iter();
                $(if let Some(metric) = metrics.next() {
                    let labels = metric.label_value.into_iter().map(Cow::from).collect();
                    let value = Value::Integer(self.$counter.get());
                    samples.push(Sample { metric, labels, value });
                })*
                $(if let Some(metric) = metrics.next() {
                    self.$observed.add_to(metric, &mut samples);
                })*
                $(if let Some(metric) = metrics.next() {
                    readings.$reading.add_to(metric, &mut samples);
                })*
                samples
            }
        }
    };
}

metrics! {
    counted {
        tcp_connections_accepted = "tcp_connections_accepted_total", "connections",
            "TCP connections that were accepted, those that a limit refused included.";
        tcp_accept_errors = "tcp_accept_errors_total", "errors",
            "Failures to accept a TCP connection, such as too few file descriptors.";
        connections_http1 = "http_connections_total" ["protocol" = "http1"], "connections",
            "Connections that began with HTTP/1.1; websockets begin like this.";
        connections_http2 = "http_connections_total" ["protocol" = "http2"], "connections",
            "Connections that began with HTTP/2.";
        tls_handshakes = "tls_handshakes_total", "handshakes", "TLS handshakes that succeeded.";
        tls_handshakes_late = "tls_handshakes_failed_total" ["reason" = "timeout"], "handshakes",
            "TLS handshakes that were not complete within `head_timeout`.";
        tls_handshakes_closed = "tls_handshakes_failed_total" ["reason" = "closed"], "handshakes",
            "TLS handshakes during which the client closed the connection, such as probes of a port.";
        tls_handshakes_rejected = "tls_handshakes_failed_total" ["reason" = "rejected"],
            "handshakes", "TLS handshakes that the client ended with an alert: it does not trust the \
             certificate, which may have expired or lack its issuers.";
        tls_handshakes_incompatible = "tls_handshakes_failed_total" ["reason" = "incompatible"],
            "handshakes", "TLS handshakes of clients that have no version, cipher or protocol in common \
             with the server.";
        tls_handshakes_plain = "tls_handshakes_failed_total" ["reason" = "plain_http"], "handshakes",
            "Requests without TLS to a port with TLS, which got 400.";
        tls_handshakes_malformed = "tls_handshakes_failed_total" ["reason" = "malformed"],
            "handshakes", "TLS handshakes that broke the protocol.";
        sign_ins_failed = "sign_ins_failed_total", "sign-ins",
            "Sign-ins to the admin pages with a wrong user name or password.";
        reloads_done = "reloads_total" ["outcome" = "done"], "reloads",
            "Reloads of the settings after which the new ones counted.";
        reloads_failed = "reloads_total" ["outcome" = "failed"], "reloads",
            "Reloads of the settings that changed nothing, because something was wrong with them.";
        signatures_replayed = "signatures_replayed_total", "requests",
            "Requests that were refused because their signature, over the whole request, counted before.";
        answers_replayed = "answers_replayed_total", "answers",
            "Repeats of requests with an idempotency key, which got the first answer again.";
        portions_read = "portions_read_total", "portions",
            "Portions of stored events that listeners with a cursor read, after they came back or fell behind.";
        gaps_evicted = "gaps_total" ["reason" = "evicted"], "gaps",
            "Gaps told to listeners: what they missed was not stored any more.";
        gaps_epoch = "gaps_total" ["reason" = "epoch"], "gaps",
            "Gaps told to listeners: their cursor was of an earlier life of the server.";
        gaps_window = "gaps_total" ["reason" = "window"], "gaps",
            "Gaps told to listeners: they were away for longer than `recovery_window`.";
        digests_differed = "digests_differed_total", "reports",
            "Reports of other nodes whose state was not that of this node at the same place. One is too many.";
        listeners_ended_by_client = "listeners_ended_total" ["reason" = "client"], "listeners",
            "Sockets that the client closed, lost or broke the protocol of; polls that were answered or \
             abandoned.";
        listeners_ended_disconnected = "listeners_ended_total" ["reason" = "disconnected"],
            "listeners", "Listeners that ended because their connection ended or was unknown.";
        listeners_ended_superseded = "listeners_ended_total" ["reason" = "superseded"],
            "listeners", "Listeners that a newer one of the same connection replaced.";
        listeners_ended_slow = "listeners_ended_total" ["reason" = "slow"], "listeners",
            "Listeners without a cursor that read too slowly, so that their outbox was full.";
        listeners_ended_stalled = "listeners_ended_total" ["reason" = "stalled"], "listeners",
            "Sockets and event streams that read nothing of what waited for them.";
        listeners_ended_silent = "listeners_ended_total" ["reason" = "silent"], "listeners",
            "Sockets that did not answer a ping.";
        listeners_ended_node_silent = "listeners_ended_total" ["reason" = "node_silent"],
            "listeners", "Listeners of this node that ended because the other nodes took it for dead.";
        listeners_ended_overload = "listeners_ended_total" ["reason" = "overload"], "listeners",
            "Listeners that the server had no room or no time for.";
        listeners_ended_shutdown = "listeners_ended_total" ["reason" = "shutdown"], "listeners",
            "Listeners that the shutdown of the server closed.";
    }
    observed {
        requests: Requests = Counter "requests_total" ["endpoint", "status"], "requests",
            "Requests that were answered, by the path of the endpoint and the status; `other` is every \
             path that is no endpoint.";
        signatures: Signatures = Counter "signatures_total" ["scheme", "secret"], "requests",
            "Requests with a valid signature, by what it is over, `timestamp` or `body` (the whole request), \
             and by the secret that made it: `1` is the newest.";
        delivery: Delivery = Histogram "delivery_seconds" ["transport"], "seconds",
            "From when a publish, change or delete was accepted until its event was written to a \
             listener, or handed to the answer of a poll or stream. Each event counts once for each \
             listener; what is read with a cursor or caught up on is not in it.";
        loop_batch: Histogram = Histogram "loop_batch_seconds" [], "seconds",
            "Time that the loop which owns the state took for a run of entries that waited for it, \
             deliveries included: 256 entries at most.";
    }
    read {
        build: Vec<(&'static str, u64)> = Info "build_info" ["version"], "builds",
            "The version of the server.";
        start_time: f64 = Gauge "process_start_time_seconds", "seconds",
            "When the server started, in seconds since 1970.";
        clock: f64 = Gauge "clock_seconds", "seconds",
            "The wall clock of the machine, in seconds since 1970. Signatures are refused if it is wrong.";
        tls_certificate_expiry: Option<f64> = Gauge "tls_certificate_expiry_time_seconds", "seconds",
            "Until when the certificate in use is valid, in seconds since 1970, if the server speaks TLS.";
        loop_responding: u64 = Gauge "loop_responding", "loops",
            "1 if the loop that owns the state answered within a second; 0 if not, and then what it knows \
             is left out.";
        ready: u64 = Gauge "ready", "servers", "1 if `/readyz` says so: requests may be sent to this server.";
        draining: u64 = Gauge "draining", "servers", "1 while the server shuts down.";
        uptime: f64 = Gauge "uptime_seconds", "seconds", "Time since the server started.";
        tcp_connections: u64 = Gauge "tcp_connections", "connections", "Open TCP connections.";
        listeners: u64 = Gauge "listeners", "listeners",
            "Open sockets, event streams and waiting polls.";
        requests: u64 = Gauge "requests_in_flight", "requests",
            "Requests of backends and admins that are being answered, waiting polls excluded.";
        listeners_by_transport: Vec<(&'static str, u64)> = Gauge "listeners_by_transport" ["transport"],
            "listeners",
            "Listeners by transport: `websocket`, `long_poll`, `sse` or `ndjson`; those that are just \
             ending included.";
        listeners_waiting: u64 = Gauge "listeners_waiting", "listeners",
            "Listeners whose client has not taken all that was sent to it.";
        listeners_behind: u64 = Gauge "listeners_behind", "listeners",
            "Listeners with a cursor that read stored events before they take live ones.";
        outbox_bytes: u64 = Gauge "outbox_bytes", "bytes", "Size of what waits for listeners.";
        nonces: u64 = Gauge "nonces", "signatures",
            "Signatures over requests that are remembered, so that none counts twice (`max_nonces`).";
        tasks: u64 = Gauge "runtime_tasks", "tasks", "Tasks of the thread that keeps the state.";
        nodes: Option<u64> = Gauge "nodes", "nodes",
            "Servers on this journal that are alive, as all of them know; only of a journal that is not over with the server.";
        users: Option<u64> = Gauge "users", "users", "Users that the server remembers.";
        users_connected: Option<u64> = Gauge "users_connected", "users",
            "Users with at least one connection.";
        connections: Option<u64> = Gauge "connections", "connections",
            "Connections (`conn_id`), listening or not.";
        channels: Option<u64> = Gauge "channels", "channels", "Channels that exist.";
        events: Option<u64> = Counter "events_total", "events",
            "Events of all kinds: messages, edits, deletes, presence and changes of user state.";
        messages: Option<u64> = Counter "messages_posted_total", "messages",
            "Messages that were posted and had an address.";
        deliveries: Option<u64> = Counter "messages_delivered_total", "messages",
            "Deliveries of posted messages, one for each addressed connection, listening or not.";
        kept_answers: Option<u64> = Gauge "kept_answers", "answers",
            "Answers that are kept for repeats of requests with an idempotency key.";
        kept_bytes: Option<u64> = Gauge "kept_answers_bytes", "bytes", "About the memory of these answers.";
        evicted_answers: Option<u64> = Counter "kept_answers_evicted_total", "answers",
            "Answers that were forgotten before `idempotency_window` because they were too many or too large.";
        refusals: Vec<(&'static str, u64)> = Counter "refusals_total" ["limit"], "refusals",
            "Connections, requests and messages that a limit refused.";
        journal_state: Vec<(&'static str, u64)> = Gauge "journal_state" ["state"], "states",
            "1 for the state of the journal, 0 for the others: `following`, `no_space` (nothing is accepted \
             until there is space again), `joining` (it reads what it missed), `away` (Redis is not \
             reached) or `ended`.";
        journal_waiting: u64 = Gauge "journal_waiting", "commands",
            "Commands of this server that were appended to the journal and are not applied yet.";
        journal_waiting_time: f64 = Gauge "journal_waiting_seconds", "seconds",
            "How long the oldest of them has been waiting.";
        journal_level: Option<u64> = Gauge "journal_level", "levels",
            "The level in force: that of the forms and rules of what the journal in files or Redis holds.";
        journal_entries: Option<u64> = Counter "journal_entries_total", "entries",
            "Entries that were written to the files of the journal, or read from the one in Redis.";
        journal_undone: Option<u64> = Counter "journal_undone_total", "entries",
            "Entries that were accepted and could not be written, or are in doubt; their requests got 503.";
        journal_appended: Option<u64> = Counter "journal_appended_total", "entries",
            "Entries that this server sent to the journal in Redis.";
        journal_epoch: Option<u64> = Gauge "journal_epoch", "epochs",
            "The epoch of the journal in Redis: about the time, in microseconds, at which it began.";
        journal_lag: Option<f64> = Gauge "journal_lag_seconds", "seconds",
            "How long something that was read from the journal in Redis has been waiting to be applied.";
        journal_recoveries: Option<u64> = Counter "journal_recoveries_total", "epochs",
            "Epochs that this server began because Redis was started anew, or another one, or lacked entries.";
        journal_divergences: Option<u64> = Counter "journal_divergences_total", "divergences",
            "Times that this server had gone another way than the others, and loaded its state anew.";
        journal_damages: Option<u64> = Counter "journal_damages_total", "damages",
            "Times that this server found the journal in Redis changed by somebody else, or an older one in its place.";
        journal_restarts: Option<u64> = Counter "journal_restarts_total", "restarts",
            "States that were loaded from a snapshot in Redis; the first one at the start.";
        journal_put_back: Option<u64> = Counter "journal_put_back_total", "entries",
            "Entries that Redis had lost and that this server put back where they were.";
        journal_repeated: Option<u64> = Counter "journal_repeated_total", "entries",
            "Entries that were lost and that this server appended again.";
        journal_writes: Option<u64> = Counter "journal_writes_total", "writes",
            "Writes to the files of the journal, each of one entry or more.";
        journal_write_time: Option<f64> = Counter "journal_write_seconds_total", "seconds",
            "Time that these writes took, until the entries were given out.";
        journal_bytes: Option<u64> = Gauge "journal_bytes", "bytes",
            "Size of the entries since the last snapshot, which a restart replays.";
        journal_snapshot_bytes: Option<u64> = Gauge "journal_snapshot_bytes", "bytes",
            "Size of the last snapshot.";
        journal_snapshot_time: Option<f64> = Gauge "journal_snapshot_seconds", "seconds",
            "Time that the last snapshot took; 0 if it was before the server started.";
        journal_snapshot_age: Option<f64> = Gauge "journal_snapshot_age_seconds", "seconds",
            "Time since the last snapshot, or since the start of the server if there was none.";
        webhooks: Vec<(&'static str, u64)> = Counter "webhooks_total" ["outcome"], "webhooks",
            "Webhooks by what became of them: `delivered`, `given_up` after 24 hours, `gone` because they \
             waited when the receiver answered 410, or `dropped` because `max_webhooks` were waiting. None \
             are made for a receiver that is gone.";
        webhook_attempts: Vec<(&'static str, u64)> = Counter "webhook_attempts_total" ["outcome"], "attempts",
            "Requests to the receiver of webhooks, `succeeded` or `failed`. One that fails is made again.";
        webhooks_waiting: u64 = Gauge "webhooks_waiting", "webhooks",
            "Webhooks that wait or are being sent (`max_webhooks`).";
        webhooks_oldest: f64 = Gauge "webhooks_oldest_seconds", "seconds",
            "How long the oldest of them has been waiting, since the server started at most.";
        log_lines_dropped: u64 = Counter "log_lines_dropped_total", "lines",
            "Log lines that were dropped because standard error was not read.";
        memory: Option<u64> = Gauge "process_resident_memory_bytes", "bytes",
            "Memory of the process; Linux only.";
        cpu: Option<f64> = Counter "process_cpu_seconds_total", "seconds",
            "Processor time of the process since its start; Linux only.";
        open_files: Option<u64> = Gauge "process_open_fds", "files",
            "Open file descriptors of the process; Linux only.";
        max_files: Option<u64> = Gauge "process_max_fds", "files",
            "The limit of open file descriptors; Unix only.";
    }
}

impl Metrics {
    /// Counts a gap that is told to a listener.
    pub(crate) fn gap(&self, reason: GapReason) {
        let counter = match reason {
            GapReason::Evicted => &self.gaps_evicted,
            GapReason::Epoch => &self.gaps_epoch,
            GapReason::Window => &self.gaps_window,
        };
        counter.increment();
    }

    /// Counts the end of a listener; without an [`Ending`], the client or a poll's answer ended it.
    pub(crate) fn listener_ended(&self, ending: Option<Ending>) {
        let counter = match ending {
            None | Some(Ending::Closed) => &self.listeners_ended_by_client,
            Some(Ending::Ended) => &self.listeners_ended_disconnected,
            Some(Ending::Superseded) => &self.listeners_ended_superseded,
            Some(Ending::Slow) => &self.listeners_ended_slow,
            Some(Ending::Stalled) => &self.listeners_ended_stalled,
            Some(Ending::Silent) => &self.listeners_ended_silent,
            Some(Ending::NodeSilent) => &self.listeners_ended_node_silent,
            Some(Ending::Full) => &self.listeners_ended_overload,
            Some(Ending::Shutdown) => &self.listeners_ended_shutdown,
        };
        counter.increment();
    }

    /// The listeners that ended because they did not read fast enough, or at all.
    pub(crate) fn ended_slow(&self) -> u64 {
        self.listeners_ended_slow.get() + self.listeners_ended_stalled.get()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;

    use super::json::Json;
    use super::*;

    pub(super) fn readings() -> Readings {
        Readings {
            build: vec![("1.2.3", 1)],
            start_time: 1e9,
            clock: 1e9,
            tls_certificate_expiry: Some(2e9),
            loop_responding: 1,
            ready: 1,
            draining: 0,
            uptime: 1.5,
            tcp_connections: 2,
            listeners: 1,
            listeners_by_transport: vec![("websocket", 1), ("sse", 0)],
            listeners_waiting: 0,
            listeners_behind: 0,
            outbox_bytes: 0,
            requests: 0,
            nonces: 3,
            tasks: 9,
            nodes: Some(3),
            users: Some(3),
            users_connected: Some(2),
            connections: Some(2),
            channels: Some(1),
            events: Some(7),
            messages: Some(5),
            deliveries: Some(6),
            kept_answers: Some(2),
            kept_bytes: Some(900),
            evicted_answers: Some(0),
            refusals: vec![("max_listeners", 4), ("max_body_size", 0)],
            journal_state: vec![("following", 1), ("no_space", 0)],
            journal_waiting: 0,
            journal_waiting_time: 0.0,
            journal_level: Some(1),
            journal_entries: Some(12),
            journal_undone: None,
            journal_appended: None,
            journal_epoch: None,
            journal_lag: None,
            journal_recoveries: None,
            journal_divergences: None,
            journal_damages: None,
            journal_restarts: None,
            journal_put_back: None,
            journal_repeated: None,
            journal_writes: Some(3),
            journal_write_time: Some(0.5),
            journal_bytes: Some(4096),
            journal_snapshot_bytes: Some(512),
            journal_snapshot_time: Some(0.0),
            journal_snapshot_age: Some(60.0),
            webhooks: vec![("delivered", 3), ("dropped", 0)],
            webhook_attempts: vec![("succeeded", 3), ("failed", 1)],
            webhooks_waiting: 0,
            webhooks_oldest: 0.0,
            log_lines_dropped: 0,
            memory: None,
            cpu: Some(0.25),
            open_files: Some(12),
            max_files: None,
        }
    }

    #[test]
    fn names_are_those_of_the_field() {
        let mut seen = HashSet::new();
        let mut last = "";
        for metric in METRICS {
            let Metric { name, kind, unit, meaning, .. } = metric;
            let is_snake_case = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(is_snake_case, "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), *kind == Kind::Info, "{name}");
            for label in metric.labels {
                assert!(!["channel", "user", "conn_id"].contains(label), "{name}: unbounded");
            }
            assert!(!unit.is_empty() && meaning.ends_with('.'), "{name}");
            // A name may come again only right behind itself: the rows of a family are together.
            assert!(*name == last || seen.insert(*name), "{name}");
            last = name;
        }
    }

    #[test]
    fn samples_carry_the_values_of_their_rows() {
        let metrics = Metrics::default();
        metrics.listeners_ended_slow.increment();
        metrics.tcp_connections_accepted.add(3);
        metrics.requests.count("/info", 200);
        metrics.requests.count("/message", 422);
        metrics.requests.count("/message", 200);
        metrics.requests.count("/message", 200);
        metrics.loop_batch.observe(std::time::Duration::from_millis(250), 1);
        let json = serde_json::json!(Json(&metrics.samples(&readings())));
        assert_eq!(json["tcp_connections_accepted_total"], 3);
        assert_eq!(json["listeners_ended_total"]["slow"], 1);
        assert_eq!(json["listeners_ended_total"]["silent"], 0);
        assert_eq!(json["uptime_seconds"], 1.5);
        let requests = serde_json::json!({"/info": {"200": 1}, "/message": {"200": 2, "422": 1}});
        assert_eq!(json["requests_total"], requests);
        assert_eq!(json["loop_batch_seconds"], serde_json::json!({"count": 1, "sum": 0.25}));
        assert_eq!(json["build_info"]["1.2.3"], 1);
        assert_eq!(json["refusals_total"]["max_listeners"], 4);
        assert_eq!(json["process_cpu_seconds_total"], 0.25);
        assert!(json.get("process_resident_memory_bytes").is_none(), "{json}");
    }
}
