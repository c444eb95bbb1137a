//! Short digests by which a later reconciliation identifies an earlier decision, without a copy of it.

use aws_lc_rs::digest::{Context, SHA256};

/// The first 128 bits of SHA-256 over `parts`, in hex. Each part is preceded by its length, so that different lists of
/// parts have different inputs.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
    format!("{:032x}", u128::from_be_bytes(first))
}
