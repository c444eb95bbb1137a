//! Decisions: from the observed to the desired state. Pure and synchronous: no client, no clock, no randomness, no key
//! material. The controller gathers the inputs first and applies the result afterwards.

pub mod access_group;
pub mod application;
pub mod client_keys;
pub mod client_secret;
pub mod key_rotation;
mod kstatus;
pub mod limit;
mod lockout;
pub mod ownership;
pub mod precedence;
pub mod secret_content;
pub mod service_user;
mod signing_key;
mod used_methods;

#[cfg(test)]
mod epoch_proptests;
