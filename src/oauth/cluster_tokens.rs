//! The interface through which the protocol verifies ServiceAccount tokens of the cluster.

use std::future::Future;
use std::sync::Arc;

use super::client_auth::check_signature;
use super::denial_rule::DenialRule;
use crate::crypto::public_key::{PublicKey, SignedJwt};

/// The issuer of the ServiceAccount tokens of this cluster.
#[derive(Debug)]
pub struct ClusterIssuer {
    /// `iss` of its tokens: first the current value, then earlier ones. The API server decides whether it still accepts these.
    pub issuers: Vec<Box<str>>,
    /// The keys that sign them.
    pub keys: Vec<PublicKey>,
}

impl ClusterIssuer {
    /// Whether its tokens have, or had, this issuer.
    #[must_use]
    pub fn is_named(&self, issuer: &str) -> bool {
        self.issuers.iter().any(|known| **known == *issuer)
    }

    /// The result of the check of a signature.
    ///
    /// # Errors
    /// [`DenialRule::AssertionKeyUnknown`], [`DenialRule::AssertionSignature`]
    pub fn verify(&self, jwt: &SignedJwt<'_>) -> Result<(), DenialRule> {
        check_signature(&self.keys, jwt)
    }
}

/// ServiceAccount tokens, as the API server knows them.
pub trait ClusterTokens: Send + Sync + 'static {
    /// The issuer, as last read in the background; `None`: not read yet. No I/O.
    fn cluster_issuer(&self) -> Option<Arc<ClusterIssuer>>;

    /// Reads the issuer again, for a token with a key that is not known. Reads that follow each other closely are
    /// coalesced. After a failure the known keys remain.
    fn refresh_cluster_issuer(&self) -> impl Future<Output = ()> + Send;

    /// Asks the API server whether the token is still valid for this audience. An answer is used for up to ten seconds. If
    /// the API server does not answer, the token counts as valid, because its signature has been checked, except where the
    /// last answer was that its pod or ServiceAccount was deleted.
    ///
    /// # Errors
    /// [`ReviewError`]
    fn review(&self, token: &str, audience: &str) -> impl Future<Output = Result<(), ReviewError>> + Send;
}

/// Why a ServiceAccount token is not accepted after its signature was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReviewError {
    /// The API server rejects it.
    Rejected(DenialRule),
    /// Too many tokens wait for a review, or this process may not ask.
    Unavailable,
}
