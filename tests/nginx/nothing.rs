//! Cargo wants a target. This package is about its `Cargo.lock`.
