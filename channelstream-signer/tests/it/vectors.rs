//! Vectors recorded from two versions of itsdangerous (by `tests/python/record_vectors.py`).

use serde_json::Value;

use crate::exchange::{answer, normalized};

const V1: &str = include_str!("../vectors/itsdangerous-1.1.0.json");
const V2: &str = include_str!("../vectors/itsdangerous-2.2.0.json");

/// The recorded vectors, each a request with `answer` and perhaps `ours`.
pub(crate) fn recorded() -> Vec<Value> {
    let mut vectors: Vec<Value> = serde_json::from_str(V1).unwrap();
    vectors.extend(serde_json::from_str::<Vec<Value>>(V2).unwrap());
    vectors
}

#[test]
fn we_answer_as_recorded() {
    let vectors = recorded();
    assert!(vectors.len() > 500, "only {} vectors", vectors.len());
    for vector in vectors {
        let expected = vector.get("ours").unwrap_or(&vector["answer"]).clone();
        assert_eq!(answer(&vector), normalized(expected), "{vector:#}");
    }
}

/// A difference that is none any more would hide a change of ours.
#[test]
fn the_differences_are_differences() {
    let oldest: Vec<Value> = serde_json::from_str(V1).unwrap();
    let newest: Vec<Value> = serde_json::from_str(V2).unwrap();
    for vector in newest.iter().filter(|vector| vector.get("ours").is_some()) {
        assert_ne!(vector["ours"], vector["answer"], "{vector:#}");
    }
    let future = oldest.iter().filter(|vector| vector["ours"] == vector["answer"]);
    for vector in future.filter(|vector| vector.get("ours").is_some()) {
        assert!(vector["why"].as_str().unwrap().contains("as in 1.1.0"), "{vector:#}");
    }
}
