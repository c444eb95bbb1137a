//! Compressed storage for the kinds of which there may be a hundred thousand objects.
//!
//! The Rust value of an object takes two to three kilobytes: room for every field of `ObjectMeta` and of the spec, and
//! an allocation for each text. Nearly all of it is the same in every object of a kind. So an object is stored as JSON,
//! compressed (LZ4) against a typical object of its kind: some 300 bytes, which take 3 µs to open.

use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::store::StoredAs;
use crate::api::{Application, ClientSecret, ServiceUser};

/// A kind that is stored compressed.
pub trait Dictionary: Serialize + DeserializeOwned {
    /// An object of this kind as JSON, the LZ4 dictionary. The more an object has in common with it, the smaller its
    /// compressed form.
    fn dictionary() -> &'static [u8];
}

impl Dictionary for ServiceUser {
    fn dictionary() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> =
            LazyLock::new(|| canonical_json::<ServiceUser>(include_str!("dictionaries/service_user.json")));
        &TYPICAL
    }
}

impl Dictionary for Application {
    fn dictionary() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> =
            LazyLock::new(|| canonical_json::<Application>(include_str!("dictionaries/application.json")));
        &TYPICAL
    }
}

impl Dictionary for ClientSecret {
    fn dictionary() -> &'static [u8] {
        static TYPICAL: LazyLock<Vec<u8>> =
            LazyLock::new(|| canonical_json::<ClientSecret>(include_str!("dictionaries/client_secret.json")));
        &TYPICAL
    }
}

/// The exact JSON form of objects of the kind before compression.
fn canonical_json<K: Dictionary>(typical: &str) -> Vec<u8> {
    serde_json::from_str::<K>(typical).and_then(|object| serde_json::to_vec(&object)).unwrap_or_default()
}

#[cfg(test)]
thread_local! {
    /// Number of objects opened, for tests that count how many a change affects.
    pub(crate) static OPENED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A compressed object.
pub struct Compressed<K> {
    block: Box<[u8]>,
    /// Uncompressed size in bytes.
    length: usize,
    kind: PhantomData<fn() -> K>,
}

impl<K: Dictionary> Compressed<K> {
    /// Compresses an object.
    #[must_use]
    pub fn new(object: &K) -> Self {
        // Serialization of these kinds does not fail. A failure would be found when the object is opened.
        let json = serde_json::to_vec(object).unwrap_or_default();
        let block = lz4_flex::block::compress_with_dict(&json, K::dictionary());
        Self { block: block.into(), length: json.len(), kind: PhantomData }
    }
}

impl<K: Dictionary> StoredAs for Compressed<K> {
    type Object = K;

    /// The object as it was compressed. An object that cannot be read is treated as absent.
    fn open(&self) -> Option<Arc<K>> {
        #[cfg(test)]
        OPENED.set(OPENED.get() + 1);
        let damaged = |error: &dyn std::error::Error| {
            tracing::error!(error = error.to_string(), "a compressed object cannot be read and counts as absent");
        };
        let json = lz4_flex::block::decompress_with_dict(&self.block, self.length, K::dictionary());
        let object = serde_json::from_slice(&json.inspect_err(|error| damaged(error)).ok()?);
        object.inspect_err(|error| damaged(error)).ok().map(Arc::new)
    }
}

impl<K> fmt::Debug for Compressed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed").field("bytes", &self.block.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
