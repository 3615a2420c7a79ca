//! The spans of requests, and of applying what they append.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use http::{Method, Version};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _,
    TraceFlags, TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::Span;

use super::About;
use super::export::{Tracing, tracing};
use crate::clock::{TimeOfDay, time_of_day};
use crate::http::trace_context::TraceContext;

tokio::task_local! {
    /// The span of the request that this task serves, if it is sampled.
    static CURRENT: Parent;
}

/// A sampled span of this process, as the parent of others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parent {
    trace: TraceId,
    span: SpanId,
}

/// Serves a request of a backend, in a span if it is sampled. `status` tells the status of the outcome.
pub(crate) async fn traced<T>(
    about: About<'_>,
    serving: impl Future<Output = T>,
    status: impl FnOnce(&T) -> u16,
) -> T {
    let Some(mut span) = tracing().and_then(|tracing| begin(tracing, &about)) else {
        return serving.await;
    };
    // Boxed, so that requests without a span are no larger.
    let outcome = Box::pin(CURRENT.scope(Parent::of(&span), serving)).await;
    let status = status(&outcome);
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
    if status >= 500 {
        span.set_attribute(KeyValue::new("error.type", status.to_string()));
        span.set_status(Status::error(""));
    }
    span.end();
    outcome
}

/// Begins the span of a request, unless it is not sampled.
fn begin(tracing: &Tracing, about: &About<'_>) -> Option<Span> {
    // Nothing is allocated for requests that are not sampled.
    let is_unsampled = about.trace.is_some_and(|trace| !trace.is_sampled());
    if is_unsampled && tracing.is_parent_based {
        return None;
    }
    let parent = about.trace.map_or_else(Context::new, remote);
    let builder = SpanBuilder::from_name("request").with_kind(SpanKind::Server);
    let mut span = tracing.tracer.build_with_context(builder, &parent);
    if !span.is_recording() {
        return None;
    }
    let method = match *about.method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE => about.method.as_str(),
        // Others may be any text.
        _ => "_OTHER",
    };
    let named = if method == "_OTHER" { "HTTP" } else { method };
    span.update_name(format!("{named} {}", about.route));
    span.set_attributes([
        KeyValue::new("http.request.method", method.to_owned()),
        KeyValue::new("http.route", about.route),
        KeyValue::new("network.protocol.version", version(about.version)),
    ]);
    Some(span)
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// The context of a span of another process.
fn remote(trace: TraceContext) -> Context {
    let TraceContext { trace_id, span_id, .. } = trace;
    let flags = TraceFlags::default().with_sampled(trace.is_sampled());
    let (trace, span) = (TraceId::from(trace_id), SpanId::from(span_id));
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    Context::new().with_remote_span_context(context)
}

impl Parent {
    pub(super) fn of(span: &Span) -> Self {
        let context = span.span_context();
        Self { trace: context.trace_id(), span: context.span_id() }
    }

    /// Begins a span below this one.
    pub(super) fn child(self, name: &'static str, kind: SpanKind, from: TimeOfDay) -> Option<Span> {
        let Self { trace, span } = self;
        let context =
            SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default());
        let context = Context::new().with_remote_span_context(context);
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_start_time(from);
        tracing().map(|tracing| tracing.tracer.build_with_context(builder, &context))
    }
}

/// The commands that sampled requests have appended and that are not applied yet, by the numbers of their
/// envelopes. There are as many as callers wait at most.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// How many there are, so that the lock is not taken while there are none.
    count: AtomicUsize,
    parents: Mutex<HashMap<u64, (Parent, TimeOfDay)>>,
}

/// The span of applying a command. It ends when this is dropped.
pub(crate) struct Applying {
    pub(super) parent: Parent,
    /// When the command was appended.
    pub(super) appended: TimeOfDay,
    _span: Option<Span>,
}

impl Appended {
    fn parents(&self) -> MutexGuard<'_, HashMap<u64, (Parent, TimeOfDay)>> {
        self.parents.lock().expect("nothing that holds the map can panic")
    }

    /// Notes that the current request appends the command with this number. Called before it does.
    pub(crate) fn note(&self, number: u64) {
        if let Ok(parent) = CURRENT.try_with(|parent| *parent) {
            self.parents().insert(number, (parent, time_of_day()));
            self.count.fetch_add(1, Ordering::Release);
        }
    }

    /// Notes that a command will not be applied.
    pub(crate) fn forget(&self, number: u64) {
        self.take(number);
    }

    /// Begins the span of applying a command of this node.
    pub(crate) fn apply(&self, number: u64) -> Option<Applying> {
        let (parent, appended) = self.take(number)?;
        let span = parent.child("apply", SpanKind::Internal, time_of_day());
        Some(Applying { parent, appended, _span: span })
    }

    fn take(&self, number: u64) -> Option<(Parent, TimeOfDay)> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let taken = self.parents().remove(&number)?;
        self.count.fetch_sub(1, Ordering::Release);
        Some(taken)
    }
}
