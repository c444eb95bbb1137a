//! The keys and the certificate of an installation, in Secrets of the operator's namespace: what they are called, what
//! is in them, and how they are read.
//!
//! Nothing here writes. The controller makes what is missing; the process that faces the network reads, and waits for
//! what is not there yet.

mod certificate;
mod keys;

pub(crate) use certificate::{CA_CERT, CA_KEY, CERT, CERTIFICATE, KEY, entry, find as find_certificate};
pub use certificate::{StoredCertificate, TlsStoreError, read_certificate};
pub(crate) use keys::{ALGORITHMS, CURRENT, Data, INSTALL_KEY, SIGNING_KEYS, find, install_keys, signing_keys};
pub use keys::{KeystoreError, StoredKeys, read_keys};
