//! The keys and the certificate of an installation, in Secrets of the operator's namespace: names, content, and reads.
//!
//! This module does not write. The controller creates missing Secrets; the token endpoint reads them, and waits until
//! they exist.

mod certificate;
mod follow;
mod install_keys;
mod keys;
pub(crate) mod records;
mod signing_keys;
mod token_keys;

pub(crate) use certificate::{CA_CERT, CA_KEY, CERT, CERTIFICATE, KEY, PREVIOUS_CAS, entry, find as find_certificate};
pub use certificate::{StoredCertificate, TlsStoreError, read_certificate};
pub use follow::follow;
pub use install_keys::install_keys;
pub(crate) use install_keys::{CURRENT, INSTALL_KEY, install_key_records};
pub use keys::KeystoreError;
pub(crate) use keys::{Data, find};
pub use records::DroppedKeys;
pub(crate) use signing_keys::{FIRST_KEYS, SIGNING_KEYS, signing_key_records};
pub use signing_keys::{SigningKeys, signing_keys};
pub use token_keys::token_keys;
pub(crate) use token_keys::{TOKEN_KEYS, token_key_records};
