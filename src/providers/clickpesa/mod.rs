//! ClickPesa, Tanzania.

pub mod callback;
pub mod checksum;
pub mod status_word;
