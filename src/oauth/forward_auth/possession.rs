//! Whether the sender of a token has the key, or the certificate, to which the token is bound.

use crate::oauth::access_token::{ActiveToken, TokenFault};
use crate::oauth::authorization_header::TokenScheme;
use crate::oauth::client_auth::RequestContext;
use crate::oauth::client_store::ClientStore;
use crate::oauth::confirmation::Confirmation;
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::dpop::PresentedProof;
use crate::oauth::forward_auth::AccessError;
use crate::oauth::token::{AuditRecord, AuthorizationServer};

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
    /// Checks the proof of a token that is bound to a key, or the certificate of one that is bound to a certificate. The
    /// scheme and the binding of a token belong together: without this, a stolen token could be sent as a bearer token
    /// (RFC 9449 §7.2).
    pub(super) fn check_possession(
        &self,
        arrival: RequestContext<'_>,
        presented: &PresentedToken<'_>,
        live: &ActiveToken<'_>,
        facts: &mut AuditRecord,
    ) -> Result<(), AccessError> {
        match (presented.scheme, &live.claims.cnf) {
            (TokenScheme::Bearer, None) => Ok(()),
            (TokenScheme::Bearer, Some(Confirmation::Key(_))) => Err(TokenFault::Bound.into()),
            (TokenScheme::Bearer, Some(Confirmation::Certificate(thumbprint))) => {
                Ok(check_certificate(arrival, thumbprint, facts)?)
            }
            (TokenScheme::Dpop, None | Some(Confirmation::Certificate(_))) => Err(TokenFault::Unbound.into()),
            (TokenScheme::Dpop, Some(Confirmation::Key(thumbprint))) => {
                let proof = presented.proof.ok_or(AccessError::Proof(DenialRule::ProofMissing))?;
                let proof = self.read_proof(arrival.now, proof)?;
                let namespace = &live.record.application.namespace;
                Ok(self.use_token_proof(&proof, (presented.text, thumbprint), namespace, arrival.now)?)
            }
        }
    }
}

/// Checks that the request has the certificate with this thumbprint (RFC 8705 §3). Nothing else of the certificate
/// matters: the handshake has proved that the sender has its private key.
fn check_certificate(arrival: RequestContext<'_>, thumbprint: &str, facts: &mut AuditRecord) -> Result<(), TokenFault> {
    let presented = arrival.certificate.ok_or(TokenFault::CertificateMissing)?;
    let presented = presented.as_ref().map_err(|_| TokenFault::CertificateMalformed)?.thumbprint();
    facts.certificate = Some(presented);
    if presented.base64url() == thumbprint { Ok(()) } else { Err(TokenFault::OtherCertificate) }
}
