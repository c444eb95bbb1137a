//! Decisions: from what was observed to what should be. Pure and sync: no client, no clock, no randomness, no key
//! material. The controller gathers before and applies after.

pub mod access_group;
pub mod application;
pub mod client_secret;
pub mod content;
pub mod limit;
pub mod service_user;
mod story;

#[cfg(test)]
mod epoch_tests;
