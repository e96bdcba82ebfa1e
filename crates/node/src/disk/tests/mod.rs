//! Real files in temporary folders, real threads, and crashes in between.

mod adopt;
mod fetch;
pub(super) mod fixture;
mod resume;
mod reuse;
mod safety;
mod selection;
mod share;
mod switch;
