//! The entries of a delivered Secret that are the credential, or contain it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use serde::Serialize;
use zeroize::Zeroizing;

use super::issued_value::IssuedValue;
use crate::api::client_secret::Entry;
use crate::crypto::key_pair::{KeyAlgorithm, KeyPair};
use crate::plan::secret_content::Content;

/// Characters of the shortest part of a credential that a message must not quote.
const QUOTED_MIN: usize = 16;

/// Keys and values.
pub(super) fn credential_entries(content: &Content, value: &IssuedValue) -> Vec<(String, ByteString)> {
    let entry = |(entry, key): (Entry, &str)| {
        let bytes = match (entry, &value.key_pair) {
            (Entry::KeyId, _) => value.id.as_bytes().to_vec(),
            (Entry::PrivateJwk, Some(pair)) => pair.private_jwk(&value.id).expose_secret().as_bytes().to_vec(),
            (Entry::KeyFile, Some(pair)) => key_file(content, &value.id, pair)?,
            _ => value.text.expose_secret().as_bytes().to_vec(),
        };
        Some((key.to_owned(), ByteString(bytes)))
    };
    content.credential_keys().filter_map(entry).collect()
}

/// The key file of ZITADEL's service users.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyFile<'a> {
    r#type: &'static str,
    key_id: &'a str,
    key: &'a str,
    user_id: &'a str,
    client_id: &'a str,
}

/// `None` for PS256: the libraries that read the file sign with RS256.
fn key_file(content: &Content, key_id: &str, pair: &KeyPair) -> Option<Vec<u8>> {
    if pair.algorithm() == KeyAlgorithm::Ps256 {
        return None;
    }
    let key = pair.key_file_pem();
    let file = KeyFile {
        r#type: "serviceaccount",
        key_id,
        key: key.expose_secret(),
        user_id: content.subject().unwrap_or_default(),
        client_id: content.client_id().map(|(_, id)| id).unwrap_or_default(),
    };
    serde_json::to_vec(&file).ok()
}

/// Whether `text` contains a credential or a long part of it, as plain text or as Secrets encode it.
pub(super) fn quotes<'a>(text: &str, entries: impl IntoIterator<Item = &'a ByteString>) -> bool {
    let is_part = |part: char| part.is_ascii_alphanumeric() || "+/=_-".contains(part);
    entries.into_iter().any(|ByteString(bytes)| {
        let whole = std::str::from_utf8(bytes).unwrap_or_default();
        // The line breaks of a private key in JSON.
        let unescaped = Zeroizing::new(whole.replace("\\n", "\n"));
        let mut parts = unescaped.split(|part| !is_part(part)).filter(|part| part.len() >= QUOTED_MIN);
        text.contains(whole) || text.contains(&STANDARD.encode(bytes)) || parts.any(|part| text.contains(part))
    })
}
