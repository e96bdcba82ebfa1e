//! Connections over a simulated network, in virtual time, from a seed.

mod close;
mod congestion;
mod faults;
mod hostile;
mod link;
mod punch;
mod reno;
mod world;
