//! The providers' clients over HTTP, against the simulator.

mod mpesa;
