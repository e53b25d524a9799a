//! The whole program over HTTP.

mod clients;
mod openapi;
mod status;
