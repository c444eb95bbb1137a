//! Public documents: the metadata (RFC 8414) and the keys (RFC 7517). Each is built once per change of its content,
//! and shared by all responses: one copy exists, however many are being sent.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Clock;
use crate::crypto::keyset::JwkSet;
use crate::http::response;
use crate::http::response::{RequestId, StaticDocument};
use crate::http::state::Endpoint;
use crate::oauth::client_store::ClientStore;
use crate::oauth::error::{TokenError, Unavailable};
use crate::oauth::issuer::Issuer;
use crate::oauth::metadata::{self, PublishedSettings};
use crate::oauth::mtls_url::MtlsUrl;

pub(crate) async fn jwks<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response<Body> {
    let id = RequestId::new();
    let Some(keys) = endpoint.service.keys.signing.load_full() else {
        return response::error(&id, &TokenError::from(Unavailable::NoKey).to_response());
    };
    response::document(&id, request.headers(), &endpoint.published.jwks(&keys))
}

pub(crate) async fn metadata<C: ClientStore, K: Clock>(
    State(endpoint): State<Arc<Endpoint<C, K>>>,
    request: Request,
) -> Response<Body> {
    let id = RequestId::new();
    let service = &endpoint.service;
    let Some(keys) = service.keys.signing.load_full() else {
        return response::error(&id, &TokenError::from(Unavailable::NoKey).to_response());
    };
    let document = endpoint.published.metadata(&service.issuer, &keys);
    response::document(&id, request.headers(), &document)
}

/// The documents as last built, with their inputs.
#[derive(Debug, Default)]
pub(crate) struct Published {
    settings: PublishedSettings,
    jwks: ArcSwapOption<(Arc<JwkSet>, StaticDocument)>,
    metadata: ArcSwapOption<(Arc<JwkSet>, StaticDocument)>,
}

impl Published {
    /// Nothing is built yet.
    pub(crate) fn new(settings: PublishedSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Where clients present certificates, if not at the issuer.
    pub(crate) fn mtls_url(&self) -> Option<&MtlsUrl> {
        self.settings.mtls_url.as_ref()
    }

    fn jwks(&self, keys: &Arc<JwkSet>) -> StaticDocument {
        if let Some((_, document)) = self.jwks.load().as_deref().filter(|(of, _)| Arc::ptr_eq(of, keys)) {
            return document.clone();
        }
        let document = self.document("application/jwk-set+json", keys.document().to_vec());
        self.jwks.store(Some(Arc::new((Arc::clone(keys), document.clone()))));
        document
    }

    fn metadata(&self, issuer: &Issuer, keys: &Arc<JwkSet>) -> StaticDocument {
        if let Some((_, document)) = self.metadata.load().as_deref().filter(|(of, _)| Arc::ptr_eq(of, keys)) {
            return document.clone();
        }
        let metadata = metadata::document(issuer, keys.algorithms(), &self.settings);
        let document = self.document("application/json", metadata);
        self.metadata.store(Some(Arc::new((Arc::clone(keys), document.clone()))));
        document
    }

    fn document(&self, content_type: &'static str, body: Vec<u8>) -> StaticDocument {
        let digest = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &body));
        // Base64url and digits are visible ASCII.
        let header = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("*"));
        let cache_control = header(&format!("public, max-age={}", self.settings.max_age.as_secs()));
        StaticDocument { content_type, cache_control, etag: header(&format!("\"{digest}\"")), body: Bytes::from(body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::signing::{self, SigningAlgorithm, SigningKey};

    fn keys() -> Arc<JwkSet> {
        let pkcs8 = signing::generate(SigningAlgorithm::Es256).unwrap();
        Arc::new(JwkSet::new([Arc::new(SigningKey::from_pkcs8(SigningAlgorithm::Es256, &pkcs8).unwrap())]))
    }

    #[test]
    fn a_document_is_made_once_per_change_and_shared() {
        let issuer = Issuer::parse("https://postern.example.com", false).unwrap();
        let published = Published::new(PublishedSettings::default());
        let (old, new) = (keys(), keys());
        let metadata = |keys| published.metadata(&issuer, keys);
        assert_eq!(metadata(&old).body.as_ptr(), metadata(&old).body.as_ptr());
        assert_ne!(metadata(&old).body.as_ptr(), metadata(&new).body.as_ptr());

        assert_eq!(published.jwks(&old).body.as_ptr(), published.jwks(&old).body.as_ptr());
        assert_ne!(published.jwks(&old).etag, published.jwks(&new).etag);
        assert_eq!(published.jwks(&new).body, new.document());
    }
}
