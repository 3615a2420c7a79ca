//! Samples: metrics with their values at one moment, and what makes them of a value.

use std::borrow::Cow;
use std::fmt;

use super::Metric;
use super::delivery::Delivery;
use super::histogram::{Distribution, Histogram};
use super::requests::Requests;
use super::signatures::Signatures;

/// A metric with its value at one moment.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) metric: &'static Metric,
    /// The values of the metric's labels.
    pub(crate) labels: Vec<Cow<'static, str>>,
    pub(crate) value: Value,
}

impl Sample {
    /// A sample without labels.
    pub(super) fn plain(metric: &'static Metric, value: Value) -> Self {
        Self { metric, labels: Vec::new(), value }
    }

    /// A sample of a metric with one label.
    pub(super) fn labeled(metric: &'static Metric, label: &'static str, value: Value) -> Self {
        Self { metric, labels: vec![label.into()], value }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.metric.labels.iter().zip(&self.labels);
        let labels: Vec<_> = labels.map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        match labels.is_empty() {
            true => write!(f, "{}: {}", self.metric.name, self.value),
            false => write!(f, "{}{{{}}}: {}", self.metric.name, labels.join(","), self.value),
        }
    }
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(u64),
    Float(f64),
    Distribution(Distribution),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Distribution(value) => write!(f, "{} in {} s", value.count, value.sum),
        }
    }
}

/// A value that is not a counter of the table: one sample, none if it is unknown, or one for each label.
pub(super) trait Reading {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>);
}

impl Reading for u64 {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        samples.push(Sample::plain(metric, Value::Integer(*self)));
    }
}

impl Reading for f64 {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        samples.push(Sample::plain(metric, Value::Float(*self)));
    }
}

impl Reading for Histogram {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        samples.push(Sample::plain(metric, Value::Distribution(self.read())));
    }
}

impl Reading for Delivery {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        samples.extend(self.by_transport().map(|(transport, histogram)| {
            Sample::labeled(metric, transport.as_str(), Value::Distribution(histogram.read()))
        }));
    }
}

impl Reading for Requests {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        samples.extend(self.counts().into_iter().map(|((endpoint, status), count)| Sample {
            metric,
            labels: vec![endpoint.into(), status.to_string().into()],
            value: Value::Integer(count),
        }));
    }
}

impl Reading for Signatures {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        samples.extend(self.counts().map(|(scheme, secret, count)| Sample {
            metric,
            labels: vec![scheme.into(), secret.into()],
            value: Value::Integer(count),
        }));
    }
}

impl<T: Reading> Reading for Option<T> {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        if let Some(value) = self {
            value.add_to(metric, samples);
        }
    }
}

impl Reading for Vec<(&'static str, u64)> {
    fn add_to(&self, metric: &'static Metric, samples: &mut Vec<Sample>) {
        let sample = |&(label, value)| Sample::labeled(metric, label, Value::Integer(value));
        samples.extend(self.iter().map(sample));
    }
}
