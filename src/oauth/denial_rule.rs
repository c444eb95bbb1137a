//! The rules by which a request is denied: one word for each in the audit log, and its meaning.

use std::fmt;

use serde::Serialize;

macro_rules! rules {
    ($($name:ident = $meaning:literal,)*) => {
        /// Why a request was denied, for the operator's log. Except for `UseNotAllowed` and the rules of its own DPoP proof
        /// and of the binding of its own token, the caller does not get it.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
        pub enum DenialRule {
            $(#[doc = $meaning] $name,)*
        }

        impl DenialRule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in the log.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// What it means, as in the table of `docs/reference/audit-log.md`.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                }
            }
        }
    };
}

rules! {
    NoCredentials = "the request has no complete credentials",
    MalformedHeader = "the Authorization header cannot be read",
    UnsupportedMethod = "the scheme or method of authentication is not supported",
    MalformedSecret = "the value is not one that Postern generated, or is mistyped: its checksum is wrong",
    UnknownClient = "no Application has this client id, this ServiceAccount, or this key of a service user",
    UnknownSecret = "the client has no secret with this version: deleted, or replaced more than three times since",
    WrongSecret = "the value has the id of a version of this client and is another one: it was changed",
    Locked = "the secrets of the client are locked after several wrong values, for the network of the caller or for all callers; the value was not checked",
    Retired = "the value is correct and was replaced",
    Expired = "the value is correct and has expired; the condition of the ClientSecret has the same reason",
    Revoked = "the value is correct and revoked; the condition of the ClientSecret has the same reason",
    Suspended = "the Application is suspended; its condition has the same reason",
    ServiceUserSuspended = "the service user is suspended; the condition of the Application has the same reason",
    ServiceUserNotFound = "the service user does not exist; the condition of the Application has the same reason",
    ClientIdTaken = "another object has the client id; the condition of the Application has the same reason",
    NamespaceUnknown = "this replica has not received the Namespace of the client yet",
    SecretsNotAllowed = "`spec.auth.methods` of the Application contains no method with a secret, so the value was not checked",
    MethodNotAllowed = "the value is correct; `spec.auth.methods` of the Application does not contain this method",
    NetworkNotAllowed = "the credential is correct; `spec.auth.networks` of the Application, or `spec.networks` of the ClientSecret, does not contain `source`. The object is the one whose networks exclude it",
    UseNotAllowed = "the value is correct; `spec.usages` of the ClientSecret does not contain this usage. The only rule of client authentication that the response discloses",
    AssertionMalformed = "the assertion is not a signed JWT that can be read",
    AssertionCritical = "the header of the assertion has `crit`: Postern supports no extensions",
    AssertionAlgorithm = "`alg` of the assertion is not ES256, RS256, PS256 or EdDSA",
    AssertionIssuer = "`iss` and `sub` of the assertion are not both the client id, or in a JWT bearer grant the subject of the service user",
    AssertionKeyUnknown = "the client, or for a ServiceAccount token the cluster, or the other issuer of the token, has no key with the `kid` of the assertion that allows its `alg`; or the MAC on the public key of a key pair is wrong",
    AssertionSignature = "the signature of the assertion is wrong",
    AssertionAudience = "`aud` of the assertion is not the issuer: as a single string in a client assertion, as the only audience of a ServiceAccount token. Or it is not the only audience that `spec.auth.issuers` requires",
    AssertionWithoutExpiry = "the assertion has no `exp`",
    AssertionExpired = "the assertion has expired",
    AssertionTooLong = "`exp` of the assertion is later than `--assertion-lifetime-max` allows, or that of a ServiceAccount token or of a token of another issuer more than 24 hours in the future",
    AssertionNotYetValid = "`iat` or `nbf` of the assertion is more than a minute in the future",
    AssertionWithoutId = "the assertion has no `jti`, or one of more than 256 characters",
    AssertionReplayed = "the assertion was used before",
    AssertionClientAmbiguous = "several Applications list the ServiceAccount, or have a key with this `kid` for the same service user: send `client_id`",
    ServiceAccountNotListed = "`spec.auth.serviceAccounts` of the Application does not contain the ServiceAccount of the token",
    ServiceAccountDefault = "the token is that of the ServiceAccount `default`, and no entry of `spec.auth.serviceAccounts` has `allowDefault: true`",
    ServiceAccountRecreated = "the ServiceAccount of the token has another UID than the entry of `spec.auth.serviceAccounts`",
    ServiceAccountDeleted = "the API server rejects the token: its ServiceAccount was deleted, or deleted and created again",
    PodDeleted = "the API server rejects the token: its pod, or the other object that it is bound to, was deleted",
    ServiceAccountTokenRejected = "the API server rejects the token of a ServiceAccount",
    IssuerNotListed = "`spec.auth.issuers` of the Application does not contain the issuer of the token, or the token is an access token of Postern",
    SubjectNotListed = "the token is signed by an issuer of the Application, and `spec.auth.issuers` does not contain its `sub`",
    AssertionTooOld = "`iat` of the token of another issuer is missing, or more than 24 hours in the past",
    ProofMissing = "the token needs a DPoP proof: `token.senderConstraint` of the Application or the scheme DPoP requires one, and the request has none",
    ProofRepeated = "the request has more than one DPoP header",
    ProofMalformed = "the DPoP proof is not a signed JWT that can be read",
    ProofCritical = "the header of the DPoP proof has `crit`: Postern supports no extensions",
    ProofAlgorithm = "`alg` of the DPoP proof is not ES256, RS256, PS256 or EdDSA",
    ProofType = "`typ` of the DPoP proof is not dpop+jwt",
    ProofKey = "`jwk` of the DPoP proof is missing, is not a public key, or does not allow `alg`",
    ProofClaims = "the DPoP proof lacks `jti`, `htm`, `htu` or `iat`, or one of them has the wrong type",
    ProofId = "`jti` of the DPoP proof is empty, or has more than 256 characters",
    ProofMethod = "`htm` of the DPoP proof is not the method of the request",
    ProofUrl = "`htu` of the DPoP proof is not the URL of the request, as clients see it",
    ProofExpired = "`iat` of the DPoP proof is more than a minute in the past",
    ProofNotYetValid = "`iat` of the DPoP proof is more than a minute in the future",
    ProofNonceMissing = "the DPoP proof has no `nonce`, and `--dpop-nonce-required` is set; the client has to retry with the nonce of the response",
    ProofNonceUnknown = "`nonce` of the DPoP proof is not from this installation; the client has to retry with the nonce of the response",
    ProofNonceExpired = "`nonce` of the DPoP proof has expired; the client has to retry with the nonce of the response",
    ProofTokenHash = "`ath` of the DPoP proof is not the hash of the access token",
    ProofSignature = "the signature of the DPoP proof is wrong",
    ProofReplayed = "the DPoP proof was used before",
    ProofOtherKey = "the DPoP proof is signed with another key than the one to which the token is bound",
    TokenBound = "the token is bound to a key, and was sent as a bearer token",
    TokenUnbound = "the token is not bound to the key of a DPoP proof, and was sent with the scheme DPoP",
    BindingCertificateMissing = "`token.senderConstraint` of the Application is MutualTLS, and the request has no client certificate: use the URL of `mtls_endpoint_aliases`",
    BindingProofUnexpected = "`token.senderConstraint` of the Application is MutualTLS, and the request has a DPoP proof: a token is bound to a certificate or to a key, not to both",
    TokenCertificateMissing = "the token is bound to a certificate, and the request has none",
    TokenOtherCertificate = "the token is bound to another certificate than that of the request",
    CertificateMissing = "the request has no credential, and `spec.auth.methods` of the Application needs a certificate, which the connection has not",
    CertificateMalformed = "the certificate cannot be read, its chain is longer than 8 KiB, or the header of the proxy is repeated",
    CertificateNotRegistered = "the only credential of the request is a certificate, and `spec.auth.methods` of the Application contains no method for certificates",
    CertificateExpired = "the certificate has expired",
    CertificateNotYetValid = "the certificate is not valid yet",
    CertificateUntrusted = "the certificate has no valid chain to a CA of `--mtls-client-ca-file`",
    CertificatePurpose = "the extended key usage of the certificate does not contain clientAuth",
    CertificateUnknown = "the Application has no entry that identifies the certificate, for a method of its `spec.auth.methods`",
    UnknownKey = "the token is signed with a key that is not published here",
    WrongSignature = "the signature of the token is wrong",
    DecryptionFailed = "the opaque token was not issued here, or was changed",
    MalformedClaims = "the claims of the token are not those of an access token of Postern",
    OtherIssuer = "the token has another issuer",
    TokenExpired = "the token has expired",
    TokenIdle = "the token was not used for longer than its idle time",
    TokenRevoked = "the client has revoked the token",
    TokenBeforeRestore = "the token was issued before `--restored-at`",
    AuthorityChanged = "the token was issued before a [change of permissions](../authority.md#epochs)",
    UnknownAuthority = "the token has permissions that this cluster does not know",
    NotForCaller = "the token is valid; the caller may not introspect it",
    TokenOfOtherClient = "the client asked for the revocation of a token of another client; nothing was revoked",
    NoPermissions = "the client has no permissions",
    ScopeNotGranted = "a requested or required scope is not granted ([tokens.md](../tokens.md#what-is-granted))",
    NoScope = "no scope remains of the requested ones ([tokens.md](../tokens.md#what-is-granted))",
    AudienceNotGranted = "a requested or required audience is not granted ([tokens.md](../tokens.md#what-is-granted))",
    AudienceAmbiguous = "the client has several audiences and requested none ([tokens.md](../tokens.md#what-is-granted))",
    SeveralAudiences = "the client requested several audiences, and its tokens may have one ([tokens.md](../tokens.md#what-is-granted))",
    TokenTooLarge = "the token would be longer than the endpoints accept ([tokens.md](../tokens.md#size))",
    MalformedHead = "the head is not valid HTTP; no handler received the request. Behind a proxy of `--trusted-proxies` the line has no `source`, because the header with it was not read",
    HeadTooLarge = "the head is longer than [the limit](../operations.md#limits); no handler received the request. Behind a proxy of `--trusted-proxies` the line has no `source`",
    TooManyHeaders = "the head has more headers than [the limit](../operations.md#limits); no handler received the request",
    Host = "the Host header is missing, repeated or malformed; no handler received the request",
    TransferEncoding = "the transfer coding is not supported, or repeated; no handler received the request",
    HttpMethod = "the path does not support this method",
    UnknownPath = "there is no such path",
    InvalidRequest = "the request is malformed; `detail` names the problem",
    UnsupportedGrantType = "the grant type is not supported",
    ScopeSyntax = "the scope is malformed",
    TargetSyntax = "`resource` or `audience` is malformed",
    NotSynced = "this replica has not received all objects yet; the client has to retry",
    Stale = "the watches of this replica have been broken for too long; the client has to retry",
    Behind = "this replica is behind what the request proves to exist; the client has to retry",
    NoKey = "this replica has no key, or no key of the algorithm of the Application [signs yet](../operations.md#keys); the client has to retry",
    Overloaded = "too many secrets wait to be hashed; the client has to retry",
    RateLimited = "too many unknown credentials are looked up; the client has to retry",
    FailureLimit = "too many authentications from the network of `source` have failed ([rate limits](../rate-limits.md#failed-authentications)); the client has to retry later",
    HashLimit = "too many secrets were hashed in this second ([rate limits](../rate-limits.md#hashes)); the client has to retry",
    TokenLimit = "the client has requested more tokens than `spec.token.requestsPerMinute` of the Application, or the default of the operator, allows ([rate limits](../rate-limits.md#token-requests-of-a-client)); it has to retry later",
    TooOften = "the client has had too many tokens revoked, or rotations requested; it has to retry later",
    NoRoom = "the namespace has used its share of the revocations, of the rotation requests, of the assertions, or of the DPoP proofs; the client has to retry later",
    Internal = "a defect: report it",
}

impl fmt::Display for DenialRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
