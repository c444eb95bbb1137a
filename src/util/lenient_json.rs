//! Reads JSON of strangers in bounded memory. `serde_json::Value` takes up to seventy times the size of its text, and a
//! derived type fails at the first value of another form.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What a type keeps of a JSON value. Of a form that the type does not read, nothing is kept.
pub trait Lenient: Sized {
    /// A value of any other form.
    fn other() -> Self;

    /// A string.
    #[must_use]
    fn text(_: &str) -> Self {
        Self::other()
    }

    /// `null`.
    #[must_use]
    fn null() -> Self {
        Self::other()
    }

    /// An array, which must be read to its end.
    fn list<'de, L: SeqAccess<'de>>(mut list: L) -> Result<Self, L::Error> {
        skip_list(&mut list)?;
        Ok(Self::other())
    }

    /// An object, which must be read to its end.
    fn object<'de, M: MapAccess<'de>>(mut members: M) -> Result<Self, M::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::other())
    }
}

/// Whether the text can only be that of a JSON object. serde reads a struct from an array too.
#[must_use]
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().starts_with(b"{")
}

/// Reads a struct from a JSON object; `None`: the text is something else.
#[must_use]
pub fn object<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Option<T> {
    if is_object(json) { serde_json::from_slice(json).ok() } else { None }
}

/// Reads a value of any form.
///
/// # Errors
/// The text is not JSON.
pub fn read<'de, T: Lenient, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(AnyForm(PhantomData))
}

/// Reads an array to its end without keeping anything. Returns the number of elements.
///
/// # Errors
/// The text is not JSON.
pub fn skip_list<'de, L: SeqAccess<'de>>(list: &mut L) -> Result<usize, L::Error> {
    let mut count = 0;
    while list.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(count)
}

struct AnyForm<T>(PhantomData<T>);

impl<'de, T: Lenient> Visitor<'de> for AnyForm<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::other())
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::text(text))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::null())
    }

    fn visit_seq<L: SeqAccess<'de>>(self, list: L) -> Result<T, L::Error> {
        T::list(list)
    }

    fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<T, M::Error> {
        T::object(members)
    }
}
