//! A journal in Redis, which several nodes share and which outlives them all.

pub(crate) mod protocol;
