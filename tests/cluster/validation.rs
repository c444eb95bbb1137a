//! Every validation rule of the CRDs, on the API server: what is refused, with which message, and what just passes.

mod access_groups;
mod applications;
mod client_secrets;
mod every_field;
mod service_users;
mod shared;
