//! Whether the sender of a token has the key to which the token is bound.

use jiff::Timestamp;

use crate::oauth::access_token::{ActiveToken, TokenFault};
use crate::oauth::authorization_header::TokenScheme;
use crate::oauth::client_store::ClientStore;
use crate::oauth::confirmation::Confirmation;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::dpop::PresentedProof;
use crate::oauth::forward_auth::AccessError;
use crate::oauth::token::AuthorizationServer;

/// A token as a request contains it.
pub(in crate::oauth) struct PresentedToken<'a> {
    scheme: TokenScheme,
    pub(in crate::oauth) text: &'a [u8],
    proof: Option<&'a PresentedProof>,
}

impl<'a> PresentedToken<'a> {
    /// A token with the scheme Bearer. A DPoP header has no meaning with it.
    pub(in crate::oauth) fn bearer(text: &'a [u8]) -> Self {
        Self { scheme: TokenScheme::Bearer, text, proof: None }
    }

    /// A token with the scheme DPoP.
    pub(in crate::oauth) fn dpop(text: &'a [u8], proof: Option<&'a PresentedProof>) -> Self {
        Self { scheme: TokenScheme::Dpop, text, proof }
    }
}

impl<C: ClientStore, K> AuthorizationServer<C, K> {
    /// Checks the proof of a token that is bound to a key. The scheme and the binding of a token belong together: without
    /// this, a stolen token could be sent as a bearer token (RFC 9449 §7.2).
    pub(super) fn check_possession(
        &self,
        now: Timestamp,
        presented: &PresentedToken<'_>,
        live: &ActiveToken<'_>,
    ) -> Result<(), AccessError> {
        match (presented.scheme, &live.claims.cnf) {
            (TokenScheme::Bearer, None) => Ok(()),
            (TokenScheme::Bearer, Some(Confirmation::Key(_))) => Err(TokenFault::Bound.into()),
            (TokenScheme::Dpop, None) => Err(TokenFault::Unbound.into()),
            (TokenScheme::Dpop, Some(Confirmation::Key(thumbprint))) => {
                let proof = presented.proof.ok_or(AccessError::Proof(DenialRule::ProofMissing))?;
                let proof = self.read_proof(now, proof)?;
                let namespace = &live.record.application.namespace;
                Ok(self.use_token_proof(&proof, (presented.text, thumbprint), namespace, now)?)
            }
        }
    }
}
