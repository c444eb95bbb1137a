//! The objects of one kind, by key. One task writes, all other tasks read.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::Resource;

use super::{ObjectRef, ObjectRefs, is_deleting};

/// How objects of a kind are stored.
pub trait StoredAs {
    /// The type of the objects.
    type Object;

    /// The object; `None` if it cannot be read.
    fn open(&self) -> Option<Arc<Self::Object>>;
}

/// Stored without conversion.
impl<K> StoredAs for Arc<K> {
    type Object = K;

    fn open(&self) -> Option<Arc<K>> {
        Some(Self::clone(self))
    }
}

/// An object, and the fields that are readable without opening it.
#[derive(Debug)]
pub struct StoredObject<F> {
    /// The key of the object.
    pub key: ObjectRef,
    /// `metadata.resourceVersion`
    pub revision: u64,
    /// The object.
    pub object: F,
}

impl<F: StoredAs<Object: Resource>> StoredObject<F> {
    /// The object; `None` if it is being deleted, or cannot be read.
    #[must_use]
    pub fn live(&self) -> Option<Arc<F::Object>> {
        self.object.open().filter(|object| !is_deleting(object.as_ref()))
    }
}

/// The objects of one kind; clones share one store.
#[derive(Debug)]
pub struct ObjectStore<F> {
    objects: Arc<RwLock<ObjectSet<F>>>,
    /// Objects beyond the limit of their namespace, which are treated as absent.
    beyond: Arc<RwLock<ObjectRefs>>,
    /// Objects that cannot be decoded and are treated as absent, with the reason.
    undecodable: Arc<RwLock<BTreeMap<ObjectRef, Arc<str>>>>,
}

/// A set of entries that contain their key, because a map would have room for twice as many keys as there are.
pub(super) type ObjectSet<F> = HashSet<ByRef<F>>;

#[derive(Debug)]
pub(super) struct ByRef<F>(pub(super) Arc<StoredObject<F>>);

impl<F> Borrow<ObjectRef> for ByRef<F> {
    fn borrow(&self) -> &ObjectRef {
        &self.0.key
    }
}

impl<F> PartialEq for ByRef<F> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl<F> Eq for ByRef<F> {}

impl<F> Hash for ByRef<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl<F> Clone for ObjectStore<F> {
    fn clone(&self) -> Self {
        Self {
            objects: Arc::clone(&self.objects),
            beyond: Arc::clone(&self.beyond),
            undecodable: Arc::clone(&self.undecodable),
        }
    }
}

impl<F> Default for ObjectStore<F> {
    fn default() -> Self {
        Self { objects: Arc::default(), beyond: Arc::default(), undecodable: Arc::default() }
    }
}

impl<F: StoredAs> ObjectStore<F> {
    /// The current object.
    #[must_use]
    pub fn get(&self, key: &ObjectRef) -> Option<Arc<F::Object>> {
        self.read().get(key)?.0.object.open()
    }
}

impl<F> ObjectStore<F> {
    /// Whether the object exists.
    #[must_use]
    pub fn contains(&self, key: &ObjectRef) -> bool {
        self.read().contains(key)
    }

    /// The keys of all objects, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<ObjectRef> {
        self.read().iter().map(|entry| entry.0.key.clone()).collect()
    }

    /// The keys of all objects that are treated as absent: those beyond the limit of their namespace, and those that
    /// cannot be decoded.
    #[must_use]
    pub fn keys_absent(&self) -> ObjectRefs {
        let mut keys = self.beyond.read().unwrap_or_else(PoisonError::into_inner).clone();
        keys.extend(self.undecodable.read().unwrap_or_else(PoisonError::into_inner).keys().cloned());
        keys
    }

    /// Why the object cannot be decoded, if that is why it is treated as absent.
    #[must_use]
    pub fn undecodable(&self, key: &ObjectRef) -> Option<Arc<str>> {
        self.undecodable.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Whether the object is treated as absent because it is beyond the limit of its namespace.
    #[must_use]
    pub fn is_beyond(&self, key: &ObjectRef) -> bool {
        self.beyond.read().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    pub(super) fn undecodables(&self) -> RwLockWriteGuard<'_, BTreeMap<ObjectRef, Arc<str>>> {
        self.undecodable.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn beyond(&self) -> RwLockWriteGuard<'_, ObjectRefs> {
        self.beyond.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn kept(&self, key: &ObjectRef) -> Option<Arc<StoredObject<F>>> {
        self.read().get(key).map(|entry| Arc::clone(&entry.0))
    }

    /// Inserts the object and returns the previous one.
    pub(super) fn put(&self, object: Arc<StoredObject<F>>) -> Option<Arc<StoredObject<F>>> {
        self.write().replace(ByRef(object)).map(|before| before.0)
    }

    pub(super) fn take(&self, key: &ObjectRef) -> Option<Arc<StoredObject<F>>> {
        self.write().take(key).map(|before| before.0)
    }

    /// Replaces all objects in one step and returns the previous ones.
    pub(super) fn replace(&self, objects: ObjectSet<F>) -> ObjectSet<F> {
        std::mem::replace(&mut self.write(), objects)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, ObjectSet<F>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, ObjectSet<F>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> ObjectStore<Arc<K>> {
    /// All objects, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.read().iter().map(|entry| Arc::clone(&entry.0.object)).collect()
    }
}
