//! Spans: what a traced request of a backend took, from its head to the last write, for a collector of
//! traces.
//!
//! A request that is sampled has a task-local with the context of its span. What it appends to the journal is
//! noted here, beside the callers that wait and not in the journal, so that the loop finds the span again when
//! it applies the envelope. Without the feature `otlp` all of this is empty.

#[cfg(feature = "otlp")]
mod export;
#[cfg(not(feature = "otlp"))]
mod none;
#[cfg(feature = "otlp")]
mod traced;
#[cfg(feature = "otlp")]
mod writes;

#[cfg(feature = "otlp")]
pub(crate) use export::init;
#[cfg(not(feature = "otlp"))]
pub(crate) use none::{Appended, Writes, init, traced};
#[cfg(feature = "otlp")]
pub(crate) use traced::{Appended, traced};
#[cfg(feature = "otlp")]
pub(crate) use writes::Writes;

use http::{Method, Version};

use crate::http::trace_context::TraceContext;

/// What the span of a request tells. None of it is secret: neither query nor header nor body.
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nothing is told"))]
pub(crate) struct About<'request> {
    /// The trace of the backend, which decides whether it is sampled.
    pub(crate) trace: Option<TraceContext>,
    pub(crate) method: &'request Method,
    /// The path in the table of routes.
    pub(crate) route: &'static str,
    pub(crate) version: Version,
}
