//! The token endpoint: from a body and a header to a token or an error.

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::crypto::client_certificate::Thumbprint;
use crate::crypto::install_key::InstallKeys;
use crate::crypto::signing::{SigningAlgorithm, SigningKey};
use crate::crypto::{jwt, opaque, random};
use crate::oauth::authorize::{Granted, authorize};
use crate::oauth::claims::{Audience, Claims, Email, token_id};
use crate::oauth::client_auth::{
    AssertionPolicy, Authenticated, Authenticator, ClientCredential, Method, RequestContext, TrustedCas, Workload,
    basic, present, present_grant,
};
use crate::oauth::client_record::{ObjectRevision, Purpose, SenderConstraint, TokenFormat};
use crate::oauth::client_store::{Availability, ClientStore};
use crate::oauth::confirmation::{Confirmation, token_type};
use crate::oauth::denial_rule::DenialRule;
use crate::oauth::dpop::{PresentedProof, Proof, ProofChecks};
use crate::oauth::error::{TokenError, Unavailable};
use crate::oauth::failure_limit::FailureLimit;
use crate::oauth::form::Form;
use crate::oauth::hash_pool::{HashLimits, HashMetrics, HashPool};
use crate::oauth::issuer::Issuer;
use crate::oauth::request::{GrantType, TokenRequest};
use crate::oauth::response::TokenResponse;
use crate::oauth::scope::{self, AudienceScope};
use crate::oauth::server_keys::ServerKeys;
use crate::oauth::signer::Signer;
use crate::util::timing::rate_limit::whole_seconds;

/// Issues tokens.
pub struct AuthorizationServer<C, K> {
    pub(crate) clients: Arc<C>,
    pub(super) clock: K,
    pub(crate) keys: Arc<ServerKeys>,
    pub(crate) issuer: Issuer,
    audience_scopes: Vec<AudienceScope>,
    /// Whether tokens and introspection contain the creator of the ServiceUser.
    pub(super) created_by_claim: bool,
    assertions: AssertionPolicy,
    client_cas: TrustedCas,
    token_bytes: usize,
    /// When a backup was restored. Tokens that were issued before are refused.
    pub(super) restored_at: Option<Timestamp>,
    hasher: HashPool,
    failures: FailureLimit,
    pub(super) signer: Signer,
    pub(super) proofs: ProofChecks,
}

/// What the tokens of an installation have in common.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The issuer identifier.
    pub issuer: Issuer,
    /// How scopes may name audiences.
    pub audience_scopes: Vec<AudienceScope>,
    /// Whether tokens and introspection contain the creator of the ServiceUser. This is usually the name of a person,
    /// which every API that gets a token would learn. The audit log always contains the creator.
    pub created_by_claim: bool,
    /// What client assertions must look like.
    pub assertions: AssertionPolicy,
    /// Whether each DPoP proof must contain a nonce of this installation (RFC 9449 §8).
    pub dpop_nonce_required: bool,
    /// The CAs of `tls_client_auth`.
    pub client_cas: TrustedCas,
    /// The longest token that the endpoints of this installation accept, in bytes. Longer tokens are not issued.
    pub token_bytes: usize,
    /// When a backup was restored; `None`: never. Tokens that were issued before are refused.
    pub restored_at: Option<Timestamp>,
}

/// Details of a request, for the audit line. Every field may contain text of the caller, except `source`, `secret`,
/// `version_id`, `key_id`, `token_issuer`, `token_subject`, `certificate`, `jti`, `dpop_jkt`, `x5t_s256` and `created_by`.
#[derive(Debug, Default)]
pub struct AuditRecord {
    /// Where the request came from, if known.
    pub source: Option<IpAddr>,
    /// `client_id` as presented.
    pub client_id: Option<Arc<str>>,
    /// `grant_type` as presented.
    pub grant_type: Option<Cow<'static, str>>,
    /// Granted or requested values.
    pub scope: Option<String>,
    /// Granted or requested values.
    pub audience: Option<String>,
    /// The ClientSecret that authenticated.
    pub secret: Option<ObjectRevision>,
    /// Its version.
    pub version_id: Option<String>,
    /// The key of the Application that signed the assertion: `kid`, or the thumbprint.
    pub key_id: Option<String>,
    /// The ServiceAccount whose token authenticated, as in its claim `sub`.
    pub service_account: Option<String>,
    /// The subject of another issuer whose token authenticated.
    pub token_subject: Option<String>,
    /// That issuer.
    pub token_issuer: Option<Box<str>>,
    /// The pod that the ServiceAccount token was issued to.
    pub workload: Option<Workload>,
    /// The certificate that the client presented as its credential, or for a token that is bound to one.
    pub certificate: Option<Thumbprint>,
    /// How the client authenticated.
    pub method: Option<Method>,
    /// Id of the token.
    pub jti: Option<String>,
    /// Thumbprint of the key to which the token is bound.
    pub dpop_jkt: Option<String>,
    /// Thumbprint of the certificate to which the token is bound, as in its `cnf`.
    pub x5t_s256: Option<String>,
    /// Who created the ServiceUser that the token was issued for.
    pub created_by: Option<Box<str>>,
}

impl<C: ClientStore, K: Clock> AuthorizationServer<C, K> {
    /// A service that issues tokens with `settings`. `failures_per_minute` are the failed authentications of each source
    /// network; `None`: no limit.
    #[must_use]
    pub fn new(
        clients: Arc<C>,
        clock: K,
        keys: Arc<ServerKeys>,
        settings: TokenSettings,
        limits: HashLimits,
        failures_per_minute: Option<NonZeroU32>,
        meter: Arc<dyn HashMetrics>,
    ) -> Self {
        let (hasher, signer) = (HashPool::new(limits, meter), Signer::new());
        let TokenSettings {
            issuer,
            audience_scopes,
            created_by_claim,
            assertions,
            dpop_nonce_required,
            client_cas,
            token_bytes,
            restored_at,
        } = settings;
        Self {
            clients,
            clock,
            keys,
            issuer,
            audience_scopes,
            created_by_claim,
            assertions,
            client_cas,
            token_bytes,
            restored_at,
            hasher,
            failures: FailureLimit::new(failures_per_minute),
            signer,
            proofs: ProofChecks::new(dpop_nonce_required),
        }
    }

    /// Whether an answer may be given. Checked before anything else, so that a replica without a current read model
    /// never gives a wrong answer.
    ///
    /// # Errors
    /// [`Unavailable::NotSynced`], [`Unavailable::Stale`]
    pub fn available(&self) -> Result<Timestamp, Unavailable> {
        let now = self.clock.now();
        match self.clients.availability(now) {
            Availability::Serving => Ok(now),
            Availability::NotSynced => Err(Unavailable::NotSynced),
            Availability::Stale => Err(Unavailable::Stale),
            Availability::Behind => Err(Unavailable::Behind),
        }
    }

    /// Whether the body of a request with these Authorization headers is worth reading, as far as its source and its client
    /// decide that.
    ///
    /// # Errors
    /// [`Unavailable::FailureLimit`]
    pub fn may_arrive<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(), Unavailable> {
        let Err(wait) = self.failures.check_network(arrival.source) else { return Ok(()) };
        let may_arrive = match authorization.into_iter().next() {
            // The body names the client.
            None => self.failures.has_clients(arrival.source),
            Some(header) => basic(header, None).is_ok_and(|secret| {
                let presented = secret.into();
                let keys = self.keys.install.load_full();
                keys.is_some_and(|keys| self.authenticator(&keys, arrival, Purpose::Token).is_verified(&presented))
                    || presented.client_id().is_some_and(|id| self.failures.serves_client(arrival.source, &id))
            }),
        };
        if may_arrive { Ok(()) } else { Err(Unavailable::FailureLimit(whole_seconds(wait))) }
    }

    /// Answers one request. Fills `facts` as far as processing gets.
    ///
    /// A proof without a valid nonce is refused before the client authenticates: the client repeats the request, and may
    /// send the same assertion again.
    ///
    /// # Errors
    /// [`TokenError`]
    pub async fn token<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        proof: Option<&PresentedProof>,
        body: &[u8],
        facts: &mut AuditRecord,
    ) -> Result<TokenResponse, TokenError> {
        let form = Form::parse(body)?;
        let request = TokenRequest::parse(&form, &self.audience_scopes).inspect_err(|_| facts.asked(&form))?;
        facts.grant_type = Some(Cow::Borrowed(request.grant_type.name()));
        let proof = proof.map(|presented| self.read_proof(arrival.now, presented)).transpose();
        let proof = proof.inspect_err(|_| facts.asked(&form))?;
        let caller = match request.grant_type {
            GrantType::ClientCredentials => self.caller(arrival, authorization, &form, facts).await,
            GrantType::JwtBearer => self.bearer(arrival, authorization, &form, facts).await,
        };
        let client = caller.inspect_err(|_| facts.requested(&request))?;
        let counted = client.record.token_limit.as_ref().map_or(Ok(()), |limit| limit.take());
        counted.inspect_err(|_| facts.requested(&request))?;
        let policy = &client.record.token;
        let granted = authorize(&client.grant, policy, &request).map_err(|error| {
            facts.requested(&request);
            let without_secret = authorize(&client.record.grant, policy, &request).is_ok();
            TokenError::Authority { error, object: client.denying_object(without_secret).clone() }
        })?;
        let bound_to =
            self.confirmation(arrival, &client, proof.as_ref()).inspect_err(|_| facts.requested(&request))?;
        self.issue(arrival.now, &client, &granted, bound_to.as_ref(), facts).await
    }

    /// What the token is bound to: the key of the proof, or the certificate of the client if the Application wants that.
    ///
    /// With a certificate and a proof, each choice would surprise a client that expects the other one, and two
    /// confirmations are understood by no API.
    fn confirmation(
        &self,
        arrival: RequestContext<'_>,
        client: &Authenticated,
        proof: Option<&Proof<'_>>,
    ) -> Result<Option<Confirmation<'static>>, TokenError> {
        let application = &client.record.application;
        let refused = |rule| TokenError::Binding(rule, application.clone());
        match (client.record.token.sender_constraint, proof) {
            (SenderConstraint::MutualTls, Some(_)) => Err(refused(DenialRule::BindingProofUnexpected)),
            (SenderConstraint::MutualTls, None) => {
                let presented = arrival.certificate.ok_or_else(|| refused(DenialRule::BindingCertificateMissing))?;
                let certificate = presented.as_ref().map_err(|_| refused(DenialRule::CertificateMalformed))?;
                Ok(Some(Confirmation::Certificate(certificate.thumbprint().base64url().into())))
            }
            (SenderConstraint::None | SenderConstraint::Dpop, Some(proof)) => {
                let key = self.use_proof(proof, &application.namespace, arrival.now);
                Ok(Some(Confirmation::Key(key.map_err(TokenError::from)?.into())))
            }
            (SenderConstraint::Dpop, None) => {
                Err(TokenError::Proof(DenialRule::ProofMissing, Some(application.clone())))
            }
            (SenderConstraint::None, None) => Ok(None),
        }
    }

    /// The client that sent a form.
    pub(super) async fn caller<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        form: &Form<'_>,
        facts: &mut AuditRecord,
    ) -> Result<Authenticated, TokenError> {
        let presented = present(authorization, form).map_err(|error| self.without_credential(arrival, error))?;
        self.identified(arrival, &presented, facts).await
    }

    /// The client that a JWT bearer grant is for.
    async fn bearer<'a>(
        &self,
        arrival: RequestContext<'_>,
        authorization: impl IntoIterator<Item = &'a [u8]>,
        form: &Form<'_>,
        facts: &mut AuditRecord,
    ) -> Result<Authenticated, TokenError> {
        let presented = present_grant(authorization, form)?;
        self.identified(arrival, &presented, facts).await.map_err(TokenError::of_grant)
    }

    async fn identified(
        &self,
        arrival: RequestContext<'_>,
        presented: &ClientCredential,
        facts: &mut AuditRecord,
    ) -> Result<Authenticated, TokenError> {
        if let (ClientCredential::Certificate { .. }, Some(Ok(certificate))) = (presented, arrival.certificate) {
            facts.certificate = Some(certificate.thumbprint());
        }
        let client = self.authenticate(arrival, Purpose::Token, presented).await;
        let client = client.inspect_err(|_| facts.presented(presented))?;
        facts.authenticated(&client);
        Ok(client)
    }

    pub(super) async fn authenticate(
        &self,
        arrival: RequestContext<'_>,
        purpose: Purpose,
        presented: &ClientCredential,
    ) -> Result<Authenticated, TokenError> {
        let keys = self.keys.install.load_full().ok_or(Unavailable::NoKey)?;
        let authenticator = self.authenticator(&keys, arrival, purpose);
        let is_verified = || authenticator.is_verified(presented);
        let attempt = self.failures.attempt(arrival.source, Some(presented), is_verified)?;
        let result = authenticator.authenticate(presented).await;
        attempt.decided(&result);
        result
    }

    fn authenticator<'a>(
        &'a self,
        keys: &'a Arc<InstallKeys>,
        arrival: RequestContext<'a>,
        purpose: Purpose,
    ) -> Authenticator<'a, C> {
        Authenticator {
            clients: &*self.clients,
            hasher: &self.hasher,
            keys,
            may_lack_keys: self.keys.install_confirmed.is_behind(arrival.now),
            arrival,
            purpose,
            issuer: self.issuer.as_str(),
            assertions: &self.assertions,
            client_cas: &self.client_cas,
        }
    }

    /// Counts a request without a credential that can be read, if that is a failed authentication.
    pub(super) fn without_credential(&self, arrival: RequestContext<'_>, error: TokenError) -> TokenError {
        let TokenError::Client(_) = error else { return error };
        self.failures.attempt(arrival.source, None, || false).map_or_else(TokenError::from, |_failed| error)
    }

    async fn issue(
        &self,
        now: Timestamp,
        client: &Authenticated,
        granted: &Granted<'_>,
        bound_to: Option<&Confirmation<'_>>,
        facts: &mut AuditRecord,
    ) -> Result<TokenResponse, TokenError> {
        let iat = now.as_second();
        // A token never outlives the secret that it was issued for.
        let exp = iat.saturating_add(client.record.token.lifetime.as_secs());
        let exp = client.ends.map_or(exp, |end| exp.min(end.as_second()));
        let jti = token_id(random::bytes());
        let scope = granted.scopes.join(" ");
        let idle = match client.record.token.format {
            TokenFormat::Opaque { idle } => idle.map(|idle| idle.as_secs()),
            TokenFormat::Jwt => None,
        };
        let identity = &client.record.identity;
        let asked_for = |scope: &str| granted.scopes.contains(&scope);
        let claims = Claims {
            iss: self.issuer.as_str(),
            sub: &client.record.subject,
            aud: Audience::from(granted.audiences.as_slice()),
            client_id: &client.record.client_id,
            iat,
            exp,
            jti: &jti,
            scope: &scope,
            roles: &granted.roles,
            planes: &granted.planes,
            location: &identity.location,
            created_by: identity.created_by.as_deref().filter(|_| self.created_by_claim),
            name: identity.name.as_deref().filter(|_| asked_for(scope::PROFILE)),
            preferred_username: asked_for(scope::PROFILE).then_some(&identity.username),
            email: identity.email.as_deref().filter(|_| asked_for(scope::EMAIL)).map(Email::unverified),
            cnf: bound_to,
            postern_epoch: [client.record.epoch.service_user, client.record.epoch.application],
            postern_authority: &client.authority,
            postern_idle: idle,
        };
        facts.scope = Some(scope.clone());
        facts.audience = Some(granted.audiences.join(" "));
        let started = Instant::now();
        let access_token = self.write(client, &claims).await?;
        self.hasher.signed(started);
        if access_token.len() > self.token_bytes {
            return Err(TokenError::TooLarge);
        }
        facts.jti = Some(jti);
        facts.created_by.clone_from(&identity.created_by);
        facts.bound(bound_to);
        // An idle token that is never used expires earlier.
        let expires_in = idle.map_or(exp - iat, |idle| idle.min(exp - iat));
        Ok(TokenResponse { access_token, token_type: token_type(bound_to), expires_in, scope })
    }

    async fn write(&self, client: &Authenticated, claims: &Claims<'_>) -> Result<String, TokenError> {
        let policy = &client.record.token;
        match policy.format {
            TokenFormat::Jwt => {
                let key = self.signing_key(policy.signing_algorithm)?;
                let jwt = jwt::access_token(&key, policy.jwt_type, claims).map_err(|_| TokenError::Internal)?;
                self.signer.sign(&client.record.client_id, key, jwt).await
            }
            TokenFormat::Opaque { .. } => {
                let keys = self.keys.tokens.load();
                let keys = keys.as_ref().filter(|keys| keys.can_seal()).ok_or(Unavailable::NoKey)?;
                let claims = serde_json::to_vec(claims).map_err(|_| TokenError::Internal)?;
                opaque::seal(keys, &claims).ok_or(TokenError::Internal)
            }
        }
    }
}

impl<C, K> AuthorizationServer<C, K> {
    /// The key that signs with this algorithm.
    pub(super) fn signing_key(&self, algorithm: SigningAlgorithm) -> Result<Arc<SigningKey>, Unavailable> {
        let keys = self.keys.signing.load();
        let key = keys.as_ref().and_then(|keys| keys.signing_key(algorithm));
        key.map(Arc::clone).ok_or(Unavailable::NoKey)
    }
}

impl AuditRecord {
    /// The pod whose token authenticated.
    pub(crate) fn pod(&self) -> Option<&str> {
        self.workload.as_ref()?.pod.as_deref()
    }

    /// The node of that pod.
    pub(crate) fn node(&self) -> Option<&str> {
        self.workload.as_ref()?.node.as_deref()
    }

    pub(super) fn presented(&mut self, presented: &ClientCredential) {
        self.client_id = presented.client_id().map(Arc::from);
    }

    pub(super) fn authenticated(&mut self, client: &Authenticated) {
        self.client_id = Some(Arc::clone(&client.record.client_id));
        let id = Some(client.version_id.clone());
        if client.method == Method::KubernetesServiceAccount {
            self.service_account = id;
        } else if client.method == Method::FederatedJwt {
            self.token_subject = id;
            self.token_issuer.clone_from(&client.token_issuer);
        } else if client.credential != client.record.application {
            self.secret = Some(client.credential.clone());
            self.version_id = id;
        } else if !client.method.is_certificate() {
            self.key_id = id;
        }
        self.method = Some(client.method);
        self.workload.clone_from(&client.workload);
    }

    /// What the token is bound to.
    pub(super) fn bound(&mut self, confirmation: Option<&Confirmation<'_>>) {
        (self.dpop_jkt, self.x5t_s256) = match confirmation {
            None => (None, None),
            Some(Confirmation::Key(thumbprint)) => (Some(thumbprint.to_string()), None),
            Some(Confirmation::Certificate(thumbprint)) => (None, Some(thumbprint.to_string())),
        };
    }

    /// As sent, for a malformed request.
    fn asked(&mut self, form: &Form<'_>) {
        let audiences: Vec<&str> = form.all("resource").chain(form.one("audience")).collect();
        self.client_id = form.one("client_id").map(Arc::from);
        self.grant_type = form.one("grant_type").map(|grant_type| Cow::Owned(grant_type.to_owned()));
        self.scope = form.one("scope").map(str::to_owned);
        self.audience = (!audiences.is_empty()).then(|| audiences.join(" "));
    }

    fn requested(&mut self, request: &TokenRequest<'_>) {
        self.scope = request.scopes.as_ref().map(|scopes| scopes.join(" "));
        self.audience = (!request.audiences.is_empty()).then(|| request.audiences.join(" "));
    }
}
