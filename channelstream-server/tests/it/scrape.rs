//! A scrape of `/metrics`, parsed as OpenMetrics and checked against its rules.

use std::collections::{BTreeMap, HashMap};

use crate::app::{Answer, Site};

/// What one scrape told.
pub(crate) struct Scrape {
    /// The samples, by name with labels as they stand.
    samples: BTreeMap<String, f64>,
}

/// The labels of a sample, by their keys.
pub(crate) type Labels = BTreeMap<String, String>;

impl Scrape {
    pub(crate) fn of(site: Site) -> Self {
        Self::parse(&site.get("/metrics"))
    }

    /// Parses an answer, which has to keep all rules.
    pub(crate) fn parse(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
        );
        let body = answer.body.strip_suffix("# EOF\n").expect("it ends with # EOF");
        let (mut types, mut samples) = (HashMap::new(), BTreeMap::new());
        let (mut family, mut kind) = ("", "");
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (word, name, rest) =
                    (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
                match word {
                    "TYPE" => {
                        assert_eq!(types.insert(name, rest), None, "{name} comes twice");
                        (family, kind) = (name, rest);
                    }
                    "UNIT" => assert!(name == family && name.ends_with(rest), "{line}"),
                    "HELP" => assert!(rest.ends_with('.') && !rest.contains('\\'), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (name, value) = line.rsplit_once(' ').unwrap();
            let suffix = split(name).0.strip_prefix(family).unwrap_or_else(|| panic!("{line}"));
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                other => panic!("{family} is a {other}"),
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let value: f64 = value.parse().unwrap();
            assert!(value >= 0.0, "{line}");
            assert_eq!(samples.insert(name.to_owned(), value), None, "{line} comes twice");
        }
        let scrape = Self { samples };
        types.iter().filter(|(_, kind)| **kind == "histogram").for_each(|(name, _)| {
            scrape.check_histogram(name);
        });
        scrape
    }

    /// The buckets of a histogram are cumulative, and the last one is the count.
    fn check_histogram(&self, name: &str) {
        let counts = self.all().filter(|(sample, ..)| *sample == format!("{name}_count"));
        for (_, labels, count) in counts {
            let mut buckets: Vec<(f64, f64)> = self
                .all()
                .filter(|(sample, ..)| *sample == format!("{name}_bucket"))
                .filter_map(|(_, mut its, value)| {
                    let bound = its.remove("le")?.replace("+Inf", "inf").parse().ok()?;
                    (its == labels).then_some((bound, value))
                })
                .collect();
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.len() > 5 && buckets.is_sorted_by_key(|(_, value)| *value), "{name}");
            assert_eq!(buckets.last().copied(), Some((f64::INFINITY, count)), "{name}");
        }
    }

    /// The value of a sample, whose labels stand in it; 0 if it is not told.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.samples.get(&format!("channelstream_{name}")).copied().unwrap_or_default()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.samples.contains_key(&format!("channelstream_{name}"))
    }

    /// All samples: name, labels and value.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, Labels, f64)> {
        self.samples.iter().map(|(sample, value)| {
            let (name, labels) = split(sample);
            (name, labels, *value)
        })
    }
}

/// Splits a sample into its name and its labels.
fn split(sample: &str) -> (&str, Labels) {
    let Some((name, labels)) = sample.split_once('{') else { return (sample, Labels::new()) };
    let labels = labels.strip_suffix("\"}").unwrap_or_else(|| panic!("{sample}"));
    let pairs = labels.split("\",").map(|pair| pair.split_once("=\"").unwrap());
    (name, pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}
