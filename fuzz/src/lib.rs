//! What several targets need.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A JWT of three lines: header and claims as JSON, and a signature. So the fuzzer changes JSON instead of base64url. Text of
/// fewer lines is taken as it is.
#[must_use]
pub fn jwt(text: &str) -> String {
    let lines: Vec<&str> = text.splitn(3, '\n').collect();
    let [header, claims, signature] = lines.as_slice() else { return text.to_owned() };
    let mut bytes = signature.as_bytes().to_vec();
    // The length of most signatures: another one is refused before anything is read.
    bytes.resize(64, 0);
    [header.as_bytes(), claims.as_bytes(), &bytes].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}
