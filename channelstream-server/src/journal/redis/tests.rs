//! The journal over a real Redis.
