//! DPoP (RFC 9449): a client proves with each request that it has the private key to which its token is bound.
//!
//! ```text
//! header DPoP ─▶ Proof (form, method, URL, time, nonce) ─▶ client or token is checked ─▶ key, signature, single use
//! ```
//!
//! The checks of the first step are cheap and read no state. A signature is checked only for an authenticated client, or
//! for a token that is bound to the key of the proof: nobody else can cause that work.

mod proof;
mod target;
mod used_proofs;

use std::sync::Arc;

use jiff::Timestamp;

use crate::crypto::nonce::{self, InvalidNonce};
use crate::oauth::client_store::{ClientStore, UseError};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::error::{TokenError, Unavailable};
use crate::oauth::token::AuthorizationServer;
pub use proof::Proof;
pub use target::Target;
use used_proofs::UsedProofs;

/// The DPoP headers of a request, as they arrived.
#[derive(Debug)]
pub struct PresentedProof {
    /// The values of the header `DPoP`.
    pub headers: Vec<Box<[u8]>>,
    /// The request that a proof must be for.
    pub target: Target,
}

/// Why a proof is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProofError {
    /// A rule refuses it.
    Refused(DenialRule),
    /// It cannot be checked now.
    Unavailable(Unavailable),
}

impl From<DenialRule> for ProofError {
    fn from(rule: DenialRule) -> Self {
        Self::Refused(rule)
    }
}

impl From<Unavailable> for ProofError {
    fn from(error: Unavailable) -> Self {
        Self::Unavailable(error)
    }
}

impl From<ProofError> for TokenError {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Refused(rule) => Self::Proof(rule, None),
            ProofError::Unavailable(error) => Self::Unavailable(error),
        }
    }
}

/// Whether the client gets `use_dpop_nonce`, with a nonce for another attempt (RFC 9449 §8).
pub(crate) fn wants_nonce(rule: DenialRule) -> bool {
    use DenialRule::{ProofNonceExpired, ProofNonceMissing, ProofNonceUnknown};
    matches!(rule, ProofNonceMissing | ProofNonceUnknown | ProofNonceExpired)
}

/// What the checks of proofs need besides the proof.
#[derive(Default)]
pub(super) struct ProofChecks {
    used: UsedProofs,
    requires_nonce: bool,
}

impl ProofChecks {
    /// Checks that require a nonce of this installation in each proof, or none.
    pub(super) fn new(requires_nonce: bool) -> Self {
        Self { used: UsedProofs::default(), requires_nonce }
    }
}

impl<C: ClientStore, K> AuthorizationServer<C, K> {
    /// The nonce that a client should use next; `None`: proofs need none.
    pub(crate) fn dpop_nonce(&self, now: Timestamp) -> Option<String> {
        let keys = self.keys.install.load();
        keys.as_deref().filter(|_| self.proofs.requires_nonce).and_then(|keys| nonce::current(keys, now))
    }

    /// The proof of a request, if it is for this request, of this time, and with a valid nonce. Its signature is not
    /// checked.
    pub(super) fn read_proof<'p>(
        &self,
        now: Timestamp,
        presented: &'p PresentedProof,
    ) -> Result<Proof<'p>, ProofError> {
        let [header] = presented.headers.as_slice() else { return Err(DenialRule::ProofRepeated.into()) };
        let proof = Proof::read(header)?;
        proof.check(&presented.target, now)?;
        if self.proofs.requires_nonce {
            let keys = self.keys.install.load();
            let keys = keys.as_deref().ok_or(Unavailable::NoKey)?;
            let presented = proof.nonce().ok_or(DenialRule::ProofNonceMissing)?;
            nonce::check(keys, presented, now).map_err(|invalid| match invalid {
                InvalidNonce::Unknown => DenialRule::ProofNonceUnknown,
                InvalidNonce::Expired => DenialRule::ProofNonceExpired,
            })?;
        }
        Ok(proof)
    }

    /// Checks the signature of a proof, and uses it up. Returns the thumbprint of its key (RFC 7638). `namespace` is that
    /// of the client.
    pub(super) fn use_proof(
        &self,
        proof: &Proof<'_>,
        namespace: &Arc<str>,
        now: Timestamp,
    ) -> Result<String, ProofError> {
        let key = proof.key()?;
        proof.verify(&key)?;
        self.use_up(proof, key.thumbprint(), namespace, now)?;
        Ok(key.thumbprint().to_owned())
    }

    /// Checks that a proof is for this access token, which is bound to the key with this thumbprint, and uses it up.
    ///
    /// # Errors
    /// [`DenialRule::ProofOtherKey`] before any signature is checked.
    pub(super) fn use_token_proof(
        &self,
        proof: &Proof<'_>,
        (token, thumbprint): (&[u8], &str),
        namespace: &Arc<str>,
        now: Timestamp,
    ) -> Result<(), ProofError> {
        proof.check_token(token)?;
        let key = proof.key()?;
        if key.thumbprint() != thumbprint {
            return Err(DenialRule::ProofOtherKey.into());
        }
        proof.verify(&key)?;
        self.use_up(proof, thumbprint, namespace, now)
    }

    fn use_up(&self, proof: &Proof<'_>, key: &str, namespace: &Arc<str>, now: Timestamp) -> Result<(), ProofError> {
        let used = self.proofs.used.use_once((key, proof.id()), namespace, now.as_second(), proof.end());
        used.map_err(|error| match error {
            UseError::Used => DenialRule::ProofReplayed.into(),
            UseError::NoRoom => Unavailable::NoRoom.into(),
        })
    }
}
