//! A DPoP proof: a JWT that contains the public key that signed it (RFC 9449 §4.2).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::target::Target;
use crate::crypto::jwk::Jwk;
use crate::crypto::public_key::{MalformedJwt, PublicKey, SignedJwt};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::numeric_date::since_epoch;

/// Header `typ` of a proof.
const TYPE: &str = "dpop+jwt";
/// How old a proof may be, and how far the clock of its client may be ahead. Clocks and slow requests differ by less, and
/// each proof has to be remembered for as long as it is accepted.
const AGE_MAX: SignedDuration = SignedDuration::from_secs(60);
/// A proof is remembered for longer than it is accepted, for a request that waits and for a clock that is set back a
/// little.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);
/// Longest proof in bytes. With an RSA key of 4096 bits and a URL of 4 KiB it is shorter.
const LENGTH_MAX: usize = 8 * 1024;
/// Length of `jti` in characters.
const ID_LENGTH_MAX: usize = 256;

/// A proof whose signature is not checked yet.
pub struct Proof<'p> {
    jwt: SignedJwt<'p>,
    jwk: Jwk,
    claims: Claims,
    issued_at: SignedDuration,
}

/// The header members besides those of every JWT.
#[derive(Deserialize)]
struct Header {
    typ: Option<String>,
    jwk: Option<Jwk>,
}

/// The claims that decide. Repeated members are refused.
#[derive(Deserialize)]
struct Claims {
    jti: String,
    htm: String,
    htu: String,
    iat: f64,
    nonce: Option<String>,
    ath: Option<String>,
}

impl<'p> Proof<'p> {
    /// Reads a header.
    ///
    /// # Errors
    /// The first rule that refuses its form, header or claims.
    pub fn read(header: &'p [u8]) -> Result<Self, DenialRule> {
        let text = std::str::from_utf8(header).ok().filter(|text| text.len() <= LENGTH_MAX);
        let jwt = SignedJwt::parse(text.ok_or(DenialRule::ProofMalformed)?).map_err(|malformed| match malformed {
            MalformedJwt::Form => DenialRule::ProofMalformed,
            MalformedJwt::Critical => DenialRule::ProofCritical,
            MalformedJwt::Algorithm => DenialRule::ProofAlgorithm,
        })?;
        let Header { typ, jwk } = serde_json::from_slice(jwt.header()).map_err(|_| DenialRule::ProofMalformed)?;
        // A media type (RFC 7515 §4.1.9), in any case.
        if !typ.is_some_and(|typ| typ.eq_ignore_ascii_case(TYPE)) {
            return Err(DenialRule::ProofType);
        }
        let jwk = jwk.ok_or(DenialRule::ProofKey)?.without_key_id();
        let claims: Claims = serde_json::from_slice(jwt.claims()).map_err(|_| DenialRule::ProofClaims)?;
        let issued_at = since_epoch(claims.iat);
        Ok(Self { jwt, jwk, claims, issued_at })
    }

    /// Checks that it is for this request and of this time.
    ///
    /// # Errors
    /// The first rule that refuses it.
    pub fn check(&self, target: &Target, now: Timestamp) -> Result<(), DenialRule> {
        let now = now.as_duration();
        if self.claims.jti.is_empty() || self.claims.jti.chars().count() > ID_LENGTH_MAX {
            Err(DenialRule::ProofId)
        } else if !target.has_method(&self.claims.htm) {
            Err(DenialRule::ProofMethod)
        } else if !target.has_url(&self.claims.htu) {
            Err(DenialRule::ProofUrl)
        } else if self.issued_at < now.saturating_sub(AGE_MAX) {
            Err(DenialRule::ProofExpired)
        } else if self.issued_at > now.saturating_add(AGE_MAX) {
            Err(DenialRule::ProofNotYetValid)
        } else {
            Ok(())
        }
    }

    /// Checks that it is for this access token (RFC 9449 §4.3).
    pub(super) fn check_token(&self, token: &[u8]) -> Result<(), DenialRule> {
        let expected = URL_SAFE_NO_PAD.encode(digest(&SHA256, token));
        if self.claims.ath.as_ref() == Some(&expected) { Ok(()) } else { Err(DenialRule::ProofTokenHash) }
    }

    /// The public key in it.
    ///
    /// # Errors
    /// [`DenialRule::ProofKey`]
    pub fn key(&self) -> Result<PublicKey, DenialRule> {
        let key = PublicKey::new(&self.jwk).map_err(|_| DenialRule::ProofKey)?;
        if key.allows(self.jwt.algorithm()) { Ok(key) } else { Err(DenialRule::ProofKey) }
    }

    /// Checks that the key in it signed it.
    ///
    /// # Errors
    /// [`DenialRule::ProofSignature`]
    pub fn verify(&self, key: &PublicKey) -> Result<(), DenialRule> {
        if key.verifies(&self.jwt) { Ok(()) } else { Err(DenialRule::ProofSignature) }
    }

    pub(super) fn nonce(&self) -> Option<&str> {
        self.claims.nonce.as_deref()
    }

    /// `jti`, which is unique for the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.claims.jti
    }

    /// Until when it is remembered, in seconds since 1970: it is refused by then.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.issued_at.saturating_add(AGE_MAX).saturating_add(MARGIN).as_secs()
    }
}
