//! New keys of a rotating key set.

use zeroize::Zeroizing;

use crate::crypto::install_key::{self, InstallKey};
use crate::crypto::opaque;
use crate::crypto::signing::{self, SigningAlgorithm, SigningKey};

/// A new key.
pub(crate) struct Material {
    /// Its public id.
    pub(crate) id: String,
    /// The entry of the Secret.
    pub(crate) entry: String,
    /// Its bytes, wiped on drop.
    pub(crate) bytes: Zeroizing<Vec<u8>>,
}

/// Generates a key of an algorithm of signing keys, a token key or an install key. Takes up to a second of a core.
pub(crate) fn new_key(algorithm: &str) -> Result<Material, String> {
    if algorithm == opaque::ALGORITHM {
        let (id, key) = opaque::generate();
        return Ok(Material { entry: format!("{id}.key"), id, bytes: Zeroizing::new(key.to_vec()) });
    }
    if algorithm == install_key::ALGORITHM {
        let key = InstallKey::generate().map_err(|error| error.to_string())?;
        let (id, bytes) = (key.id().to_owned(), Zeroizing::new(key.expose_key().to_vec()));
        return Ok(Material { entry: id.clone(), id, bytes });
    }
    let algorithm = SigningAlgorithm::from_name(algorithm).ok_or_else(|| format!("{algorithm} keys are unknown"))?;
    let bytes = signing::generate(algorithm).map_err(|error| error.to_string())?;
    let id = SigningKey::from_pkcs8(algorithm, &bytes).map_err(|error| error.to_string())?.kid().to_owned();
    Ok(Material { entry: format!("{id}.pk8"), id, bytes })
}
