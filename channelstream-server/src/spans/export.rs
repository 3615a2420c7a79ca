//! Where spans go: a collector that the variables `OTEL_*` name, over OTLP/HTTP.
//!
//! A thread of its own sends them. Its queue is bounded, and what finds no room there is dropped.

use std::env;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use thiserror::Error;

/// How long the end waits until the last spans are sent.
const LAST: Duration = Duration::from_secs(2);

/// What makes the spans of this process, if they are exported.
static TRACING: OnceLock<Tracing> = OnceLock::new();

/// What makes spans.
pub(super) struct Tracing {
    pub(super) tracer: SdkTracer,
    /// Whether a request is not sampled whose backend did not sample it.
    pub(super) is_parent_based: bool,
}

/// The export of this process. Dropping it sends what waits, for two seconds at most.
#[must_use = "dropped at the end of the process, it sends the last spans"]
pub(crate) struct Export(SdkTracerProvider);

/// The reason why traces cannot be exported. None of its texts has the value of a variable that may hold a
/// secret.
#[derive(Debug, Error)]
pub(crate) enum Error {
    #[error("{0} = {1:?}: only {2} is supported")]
    Unsupported(&'static str, String, &'static str),
    #[error(
        "OTEL_TRACES_SAMPLER = {0:?}: not one of always_on, always_off, traceidratio, \
         parentbased_always_on, parentbased_always_off, parentbased_traceidratio"
    )]
    Sampler(String),
    #[error("OTEL_TRACES_SAMPLER_ARG = {0:?}: not a number from 0 to 1")]
    Ratio(String),
    #[error("the variables OTEL_EXPORTER_OTLP_* are not valid")]
    Variables,
    #[error("the export cannot begin: {0}")]
    Start(String),
}

/// Begins to export spans, if the environment names a collector. Must be called before a runtime begins.
///
/// # Errors
/// Returns an error if a variable is wrong.
pub(crate) fn init() -> Result<Option<Export>, Error> {
    if !is_wanted()? {
        return Ok(None);
    }
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] {
        only(name, "http/protobuf")?;
    }
    let (sampler, is_parent_based) = sampler()?;
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).build();
    let exporter = exporter.map_err(|error| match error {
        ExporterBuildError::InvalidConfiguration(_) => Error::Variables,
        ExporterBuildError::InternalFailure(why) => Error::Start(why),
    })?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource())
        .build();
    let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
    // It is called once.
    let _ = TRACING.set(Tracing { tracer, is_parent_based });
    Ok(Some(Export(provider)))
}

/// Returns what makes spans, if any are exported.
pub(super) fn tracing() -> Option<&'static Tracing> {
    TRACING.get()
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

/// Returns the value of a variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned()).filter(|it| !it.is_empty())
}

/// Returns `true` if the environment names a collector and does not turn the export off.
fn is_wanted() -> Result<bool, Error> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref() {
        Some("none") => return Ok(false),
        Some("otlp") => return Ok(true),
        _ => only("OTEL_TRACES_EXPORTER", "otlp")?,
    }
    let endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    Ok(endpoints.into_iter().any(|name| variable(name).is_some()))
}

/// Returns an error if a variable has another value than this.
fn only(name: &'static str, supported: &'static str) -> Result<(), Error> {
    match variable(name) {
        Some(value) if value != supported => Err(Error::Unsupported(name, value, supported)),
        _ => Ok(()),
    }
}

/// Returns what decides which traces are exported, and whether that follows the backend.
fn sampler() -> Result<(Sampler, bool), Error> {
    let name = variable("OTEL_TRACES_SAMPLER").unwrap_or("parentbased_traceidratio".to_owned());
    let (root, is_parent_based) = match name.strip_prefix("parentbased_") {
        Some(root) => (root, true),
        None => (&*name, false),
    };
    let root = match root {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio()?),
        _ => return Err(Error::Sampler(name)),
    };
    let sampler = if is_parent_based { Sampler::ParentBased(Box::new(root)) } else { root };
    Ok((sampler, is_parent_based))
}

fn ratio() -> Result<f64, Error> {
    let Some(text) = variable("OTEL_TRACES_SAMPLER_ARG") else { return Ok(1.0) };
    match text.parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => Err(Error::Ratio(text)),
    }
}

/// Returns what the traces say of this process. The environment may name it and tell more.
fn resource() -> Resource {
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let is_named = variable("OTEL_SERVICE_NAME").is_some()
        || attributes.split(',').any(|item| item.trim().starts_with("service.name="));
    let resource = Resource::builder();
    if is_named { resource } else { resource.with_service_name(env!("CARGO_PKG_NAME")) }.build()
}
