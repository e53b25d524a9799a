//! The whole program over HTTP.

mod openapi;
mod status;
