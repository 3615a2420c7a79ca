//! Samples as JSON, for `/admin/stats.json`.

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Sample, Value};

/// Samples as one JSON object: a value under each name, or an object by label.
pub(crate) struct Json<'a>(pub(crate) &'a [Sample]);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for family in self.0.chunk_by(|one, next| one.metric.name == next.metric.name) {
            map.serialize_entry(family[0].metric.name, &ByLabel { samples: family, depth: 0 })?;
        }
        map.end()
    }
}

/// Samples of one name that have the same values of the first `depth` labels.
struct ByLabel<'a> {
    samples: &'a [Sample],
    depth: usize,
}

impl Serialize for ByLabel<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { samples, depth } = *self;
        if samples[0].labels.len() == depth {
            return samples[0].value.serialize(serializer);
        }
        let values = samples.chunk_by(|one, next| one.labels[depth] == next.labels[depth]);
        serializer.collect_map(
            values
                .map(|samples| (&samples[0].labels[depth], ByLabel { samples, depth: depth + 1 })),
        )
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Distribution(value) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("count", &value.count)?;
                map.serialize_entry("sum", &value.sum)?;
                map.end()
            }
        }
    }
}
