//! What the operator makes for itself before it can work: keys, and the certificate of the endpoint.

pub(crate) mod keystore;
pub(crate) mod recovery;
pub(crate) mod restore;
pub(crate) mod tls_secret;
