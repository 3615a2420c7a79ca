//! The text in which Prometheus and its kin read the metrics: OpenMetrics, or the older format.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::{Kind, Sample, Value};

/// What all names begin with.
const PREFIX: &str = "channelstream";

/// A format, with its media type as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    OpenMetrics,
    /// That of Prometheus before OpenMetrics.
    Prometheus,
}

impl TextFormat {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }

    /// Writes samples, those of one name together.
    pub(crate) fn write(self, samples: Vec<Sample>) -> String {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(Samples(samples)));
        let mut out = String::with_capacity(32 * 1024);
        match self {
            Self::OpenMetrics => text::encode(&mut out, &registry),
            Self::Prometheus => prometheus_text::encode(&mut out, &registry),
        }
        .expect("writing to a text cannot fail");
        out
    }
}

#[derive(Debug)]
struct Samples(Vec<Sample>);

/// The labels of exemplars, of which there are none.
type NoLabels = [(&'static str, &'static str); 0];

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.0.chunk_by(|one, next| one.metric.name == next.metric.name) {
            let metric = family[0].metric;
            let (name, unit) = stem(metric.name);
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
                Kind::Info => MetricType::Info,
            };
            let mut encoder =
                encoder.encode_descriptor(name, &help(family), unit.as_ref(), kind)?;
            for Sample { labels, value, .. } in family {
                let labels = labels.iter().map(AsRef::as_ref);
                let labels: Vec<(&str, &str)> = metric.labels.iter().copied().zip(labels).collect();
                if metric.kind == Kind::Info {
                    encoder.encode_info(&labels)?;
                    continue;
                }
                let none: Option<&Exemplar<NoLabels, f64>> = None;
                let mut encoder = encoder.encode_family(&labels)?;
                match (metric.kind, value) {
                    (Kind::Counter, Value::Integer(value)) => {
                        encoder.encode_counter(value, none)?
                    }
                    (Kind::Counter, Value::Float(value)) => encoder.encode_counter(value, none)?,
                    (_, Value::Integer(value)) => encoder.encode_gauge(value)?,
                    (_, Value::Float(value)) => encoder.encode_gauge(value)?,
                    (_, Value::Distribution(value)) => encoder.encode_histogram::<NoLabels>(
                        value.sum,
                        value.count,
                        &value.buckets,
                        None,
                    )?,
                }
            }
        }
        Ok(())
    }
}

/// Splits a name into what is before the unit and the suffix of its kind, and the unit. The encoder adds
/// both again.
fn stem(name: &str) -> (&str, Option<Unit>) {
    let name = name.strip_suffix("_total").or_else(|| name.strip_suffix("_info")).unwrap_or(name);
    if let Some(name) = name.strip_suffix("_seconds") {
        (name, Some(Unit::Seconds))
    } else if let Some(name) = name.strip_suffix("_bytes") {
        (name, Some(Unit::Bytes))
    } else {
        (name, None)
    }
}

/// What a name means, whose rows may have meanings of their own.
fn help(family: &[Sample]) -> String {
    let meaning = |sample: &Sample| match sample.metric.label_value {
        Some(value) => format!("{value}: {}", sample.metric.meaning),
        None => sample.metric.meaning.to_owned(),
    };
    match family[0].metric.label_value {
        Some(_) => family.iter().map(meaning).collect::<Vec<_>>().join(" "),
        None => meaning(&family[0]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{METRICS, Metrics, tests::readings};

    fn text(format: TextFormat) -> String {
        let metrics = Metrics::default();
        metrics.gaps_evicted.add(3);
        metrics.requests.count("/message", 200);
        metrics.loop_batch.observe(Duration::from_micros(60), 2);
        format.write(metrics.samples(&readings()))
    }

    #[test]
    fn the_text_is_that_of_openmetrics() {
        let text = text(TextFormat::OpenMetrics);
        for expected in [
            "# TYPE channelstream_gaps counter\n",
            "\nchannelstream_gaps_total{reason=\"evicted\"} 3\n",
            "\nchannelstream_requests_total{endpoint=\"/message\",status=\"200\"} 1\n",
            "# UNIT channelstream_process_cpu_seconds seconds\n\
             channelstream_process_cpu_seconds_total 0.25\n",
            "# TYPE channelstream_loop_batch_seconds histogram\n",
            "\nchannelstream_loop_batch_seconds_bucket{le=\"0.00005\"} 0\n\
             channelstream_loop_batch_seconds_bucket{le=\"0.0001\"} 2\n",
            "\nchannelstream_loop_batch_seconds_bucket{le=\"+Inf\"} 2\n",
            "\nchannelstream_build_info{version=\"1.2.3\"} 1\n",
        ] {
            assert!(text.contains(expected), "{expected:?} in:\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
        assert_eq!(text.matches("# TYPE channelstream_listeners_ended ").count(), 1);
    }

    #[test]
    fn the_older_text_has_the_same_samples() {
        let text = text(TextFormat::Prometheus);
        assert!(text.contains("# TYPE channelstream_gaps_total counter\n"), "{text}");
        assert!(text.contains("\nchannelstream_gaps_total{reason=\"evicted\"} 3\n"), "{text}");
        assert!(!text.contains("# EOF"));
    }

    #[test]
    fn no_meaning_has_to_be_escaped() {
        for metric in METRICS {
            assert!(!metric.meaning.contains(['\\', '\n', '"']), "{}", metric.name);
        }
    }
}
