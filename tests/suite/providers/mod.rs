//! The providers' clients over HTTP, against the simulator.

mod clickpesa;
mod mpesa;
mod wire;
