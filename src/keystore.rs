//! The keys and the certificate of an installation, in Secrets of the operator's namespace: names, content, and reads.
//!
//! This module does not write. The controller creates missing Secrets; the token endpoint reads them, and waits until
//! they exist.

mod certificate;
mod keys;

pub(crate) use certificate::{CA_CERT, CA_KEY, CERT, CERTIFICATE, KEY, PREVIOUS_CAS, entry, find as find_certificate};
pub use certificate::{StoredCertificate, TlsStoreError, read_certificate};
pub(crate) use keys::{ALGORITHMS, CURRENT, Data, INSTALL_KEY, SIGNING_KEYS, find, install_keys, signing_keys};
pub use keys::{KeystoreError, StoredKeys, read_keys};
