//! Whole networks of the shipped node, in virtual time, from a seed.

mod attack;
mod network;
mod one;
mod world;
