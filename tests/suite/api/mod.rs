//! The whole program over HTTP.

mod status;
