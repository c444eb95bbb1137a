//! Short digests by which a later look recognises what an earlier one decided, without a copy of it.

use std::fmt::Write;

use aws_lc_rs::digest::{Context, SHA256};

/// The first 128 bits of SHA-256 over `parts`, in hex. Each part is preceded by its length, so that no two lists of
/// parts run together.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().take(16).fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
