//! Work in progress: see `domain`.

pub mod domain;
