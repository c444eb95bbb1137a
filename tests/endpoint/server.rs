//! A server with records in memory, a fixed clock, and dedicated keys.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use postern::clock::Clock;
use postern::crypto::install_key::{HashCost, InstallKeys};
use postern::crypto::keyset::JwkSet;
use postern::crypto::opaque::TokenKeys;
use postern::crypto::secret::SecretValue;
use postern::crypto::signing::{self, SigningAlgorithm, SigningKey};
use postern::http::budget;
use postern::http::router::{public_paths, router};
use postern::http::server::{CertificateHeader, Listener, ServerLimits, Sharing, serve};
use postern::http::state::{Endpoint, RequestLimits, Settings};
use postern::oauth::client_auth::{AssertionPolicy, Method, TrustedCas};
use postern::oauth::client_record::{
    ClientRecord, Epoch, Grant, Identity, MethodUses, ObjectRevision, Role, ScopePolicy, SecretRecord, SecretVersion,
    SenderConstraint, TokenFormat, TokenPolicy, TokenType, Tombstones, Usages, Verification,
};
use postern::oauth::client_store::{
    Availability, CatchUpError, ClientRef, ClientStore, Lookup, RecordError, TokenStateStore, UseError,
};
use postern::oauth::cluster_tokens::{ClusterIssuer, ClusterTokens, ReviewError};
use postern::oauth::hash_pool::HashLimits;
use postern::oauth::issuer::Issuer;
use postern::oauth::lockout::{LockedClient, Lockout, LockoutPolicy, LockoutScope, Lockouts};
use postern::oauth::metadata::PublishedSettings;
use postern::oauth::scope::AudienceScope;
use postern::oauth::server_keys::ServerKeys;
use postern::oauth::token::TokenSettings;
use postern::telemetry::metrics::{self, TokenMetrics};
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::http_client::{self, Reply};

pub(crate) const CLIENT_ID: &str = "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e";
pub(crate) const SUBJECT: &str = "0d0c8f6e-4b7e-4f6c-9a53-6a0c1f2b7d11";
/// What tokens of the test client represent.
pub(crate) const AUTHORITY: &str = "5f2a";
pub(crate) const BILLING: &str = "https://billing.example.com";
pub(crate) const LEDGER: &str = "https://ledger.example.com";
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
pub(crate) const GRANT: &str = "grant_type=client_credentials";

/// 2026-11-22T02:00:00Z
pub(crate) const NOW: i64 = 1_795_312_800;

/// A fixed clock that tests advance.
#[derive(Clone)]
pub(crate) struct FixedClock(pub(crate) Arc<AtomicI64>);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        // Not on a whole second, so that rounding is visible.
        Timestamp::from_millisecond(self.0.load(Ordering::Relaxed) * 1000 + 250).unwrap()
    }
}

/// What the read model knows, and what it would know after catching up.
pub(crate) struct FakeClientStore {
    pub(crate) lockouts: Lockouts,
    known: Mutex<HashMap<String, Lookup>>,
    upcoming: Mutex<HashMap<String, Lookup>>,
    pub(crate) availability: Mutex<Availability>,
    pub(crate) catch_up: Mutex<Result<(), CatchUpError>>,
    /// Why nothing is recorded, if the API server fails.
    pub(crate) unrecorded: Mutex<Option<RecordError>>,
    pub(crate) catch_ups: AtomicUsize,
    pub(crate) rotations: Mutex<Vec<(String, String)>>,
    pub(crate) revoked: Mutex<HashSet<String>>,
    pub(crate) uses: Mutex<HashMap<String, i64>>,
    pub(crate) used_once: Mutex<HashSet<String>>,
    /// The issuer of ServiceAccount tokens, and what it is after it was read again.
    pub(crate) cluster: Mutex<Option<Arc<ClusterIssuer>>>,
    pub(crate) upcoming_cluster: Mutex<Option<Arc<ClusterIssuer>>>,
    /// The API server's answer to a TokenReview.
    pub(crate) review: Mutex<Result<(), ReviewError>>,
    /// Whether there is capacity for them.
    pub(crate) notes_uses: AtomicBool,
    /// The keys at the URL of a client were not fetched yet.
    pub(crate) lacks_keys: AtomicBool,
    /// Pending requests to the API server, and the permits that let each of them continue.
    pub(crate) asking: AtomicUsize,
    pub(crate) may_ask: Semaphore,
}

impl FakeClientStore {
    pub(crate) fn put(&self, record: ClientRecord) {
        self.set(CLIENT_ID, Lookup::Live(Arc::new(record)));
    }

    pub(crate) fn set(&self, id: &str, lookup: Lookup) {
        self.known.lock().unwrap().insert(id.to_owned(), lookup);
    }

    /// A request to the API server.
    async fn ask(&self) -> Result<(), CatchUpError> {
        self.asking.fetch_add(1, Ordering::Relaxed);
        let _allowed = self.may_ask.acquire().await.unwrap();
        self.asking.fetch_sub(1, Ordering::Relaxed);
        *self.catch_up.lock().unwrap()
    }

    /// A request to the API server to record something.
    async fn record(&self) -> Result<(), RecordError> {
        let asked = self.ask().await;
        asked.map_err(|_| self.unrecorded.lock().unwrap().unwrap_or(RecordError::Behind))
    }

    /// Known only after catching up.
    pub(crate) fn upcoming(&self, id: &str, lookup: Lookup) {
        self.upcoming.lock().unwrap().insert(id.to_owned(), lookup);
    }
}

impl TokenStateStore for FakeClientStore {
    fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.lock().unwrap().contains(jti)
    }

    async fn revoke(&self, jti: &str, _: i64, _: &ClientRecord, _: Timestamp) -> Result<(), RecordError> {
        self.record().await?;
        self.revoked.lock().unwrap().insert(jti.to_owned());
        Ok(())
    }

    fn last_use(&self, jti: &str) -> Option<i64> {
        self.uses.lock().unwrap().get(jti).copied()
    }

    fn used(&self, jti: &str, _: &Arc<str>, _: i64, now: i64, _: i64, _: i64) -> bool {
        let notes = self.notes_uses.load(Ordering::Relaxed);
        if notes {
            self.uses.lock().unwrap().insert(jti.to_owned(), now);
        }
        notes
    }

    fn use_once(&self, id: &str, _: &Arc<str>, _: i64, _: i64) -> Result<(), UseError> {
        if self.used_once.lock().unwrap().insert(id.to_owned()) { Ok(()) } else { Err(UseError::Used) }
    }
}

impl ClusterTokens for FakeClientStore {
    fn cluster_issuer(&self) -> Option<Arc<ClusterIssuer>> {
        self.cluster.lock().unwrap().clone()
    }

    async fn refresh_cluster_issuer(&self) {
        if let Some(upcoming) = self.upcoming_cluster.lock().unwrap().take() {
            *self.cluster.lock().unwrap() = Some(upcoming);
        }
    }

    async fn review(&self, _: &str, _: &str) -> Result<(), ReviewError> {
        *self.review.lock().unwrap()
    }
}

impl ClientStore for FakeClientStore {
    fn lookup(&self, client_id: &str) -> Lookup {
        self.known.lock().unwrap().get(client_id).cloned().unwrap_or(Lookup::Unknown)
    }

    fn clients_of(&self, identity: &ClientRef<'_>) -> Vec<Arc<str>> {
        let has = |record: &ClientRecord| match *identity {
            ClientRef::Id(_) => false,
            ClientRef::Signer { id, key_id } => {
                record.subject == id && record.key_ids().any(|known| Some(known) == key_id)
            }
            ClientRef::ServiceAccount { namespace, name } => {
                let mut accounts = record.service_accounts.iter();
                *record.application.namespace == *namespace && accounts.any(|account| *account.name == *name)
            }
        };
        let known = self.known.lock().unwrap();
        let live =
            known.values().filter_map(|lookup| if let Lookup::Live(record) = lookup { Some(record) } else { None });
        live.filter(|record| has(record)).map(|record| Arc::clone(&record.client_id)).collect()
    }

    fn has_keys_within(&self, _: &ClientRecord, _: Option<&str>, _: SignedDuration) -> bool {
        !self.lacks_keys.load(Ordering::Relaxed)
    }

    async fn catch_up(&self, _: &ClientRef<'_>, _: &str) -> Result<(), CatchUpError> {
        self.catch_ups.fetch_add(1, Ordering::Relaxed);
        self.ask().await?;
        self.known.lock().unwrap().extend(self.upcoming.lock().unwrap().drain());
        Ok(())
    }

    fn lockouts(&self) -> &Lockouts {
        &self.lockouts
    }

    async fn request_rotation(
        &self,
        _: &ClientRecord,
        secret: &ObjectRevision,
        version_id: &str,
        _: Timestamp,
    ) -> Result<(), RecordError> {
        self.record().await?;
        self.rotations.lock().unwrap().push((secret.name.to_string(), version_id.to_owned()));
        Ok(())
    }

    fn availability(&self, _: Timestamp) -> Availability {
        *self.availability.lock().unwrap()
    }
}

/// A secret of the test client.
pub(crate) struct Credential {
    pub(crate) value: String,
    pub(crate) version: Arc<SecretVersion>,
}

impl Credential {
    pub(crate) fn basic(&self) -> String {
        basic(&format!("{CLIENT_ID}:{}", self.value))
    }
}

pub(crate) fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the operator")]
pub(crate) struct Options {
    pub(crate) issuer_path: &'static str,
    pub(crate) server: ServerLimits,
    pub(crate) request: RequestLimits,
    pub(crate) hash: HashLimits,
    pub(crate) failures_per_minute: Option<NonZeroU32>,
    pub(crate) keys: bool,
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    /// A second listener, which requests certificates.
    pub(crate) mutual_tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) client_cas: TrustedCas,
    pub(crate) certificate_header: Option<CertificateHeader>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) created_by_claim: bool,
    /// Accepted `aud` of assertions besides the issuer.
    pub(crate) assertion_audiences: Vec<&'static str>,
    pub(crate) dpop_nonce_required: bool,
    pub(crate) other_issuers: bool,
    pub(crate) restored_at: Option<Timestamp>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            issuer_path: "",
            server: ServerLimits::default(),
            request: RequestLimits::default(),
            hash: HashLimits::default(),
            failures_per_minute: None,
            keys: true,
            tls: None,
            mutual_tls: None,
            client_cas: TrustedCas::default(),
            certificate_header: None,
            trusted_proxies: vec![],
            created_by_claim: false,
            assertion_audiences: Vec::new(),
            dpop_nonce_required: false,
            other_issuers: false,
            restored_at: None,
        }
    }
}

pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    /// The listener that requests certificates.
    pub(crate) mutual_addr: SocketAddr,
    pub(crate) issuer: String,
    pub(crate) clients: Arc<FakeClientStore>,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) keys: Arc<ServerKeys>,
    pub(crate) install: Arc<InstallKeys>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) metrics: TokenMetrics,
    pub(crate) credential: Credential,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    #[expect(clippy::unused_async, reason = "it listens and spawns, which is for async code only")]
    pub(crate) async fn start_with(options: Options) -> Self {
        crate::captured_logs::start();
        let [socket, mutual] = [(); 2].map(|()| postern::http::server::listen(([127, 0, 0, 1], 0).into()).unwrap());
        let [addr, mutual_addr] = [&socket, &mutual].map(|socket| socket.local_addr().unwrap());
        let issuer = format!("http://{addr}{}", options.issuer_path);
        let clock = Arc::new(AtomicI64::new(NOW));
        let keys = Arc::new(ServerKeys::default());
        let install = Arc::new(InstallKeys::generate().unwrap());
        if options.keys {
            keys.install.store(Some(Arc::clone(&install)));
            keys.signing.store(Some(Arc::new(key_set())));
            keys.tokens.store(Some(Arc::new(TokenKeys::generate().unwrap())));
        }
        let clients = Arc::new(FakeClientStore {
            lockouts: Lockouts::default(),
            known: Mutex::default(),
            upcoming: Mutex::default(),
            availability: Mutex::new(Availability::Serving),
            catch_up: Mutex::new(Ok(())),
            unrecorded: Mutex::default(),
            used_once: Mutex::default(),
            catch_ups: AtomicUsize::new(0),
            rotations: Mutex::default(),
            revoked: Mutex::default(),
            uses: Mutex::default(),
            cluster: Mutex::default(),
            upcoming_cluster: Mutex::default(),
            review: Mutex::new(Ok(())),
            notes_uses: true.into(),
            lacks_keys: false.into(),
            asking: AtomicUsize::new(0),
            may_ask: Semaphore::new(1),
        });
        let credential = new_credential(&install);
        clients.put(record(&credential));
        let mut registry = metrics::registry();
        let metrics = TokenMetrics::register(&mut registry);
        let sharing = Sharing {
            trusted_proxies: options.trusted_proxies.into(),
            certificate_header: options.certificate_header,
            public_paths: Arc::new(public_paths(&Issuer::parse(&issuer, true).unwrap())),
        };
        let limits = ServerLimits { sharing, ..options.server };
        let settings = Settings {
            token: TokenSettings {
                issuer: Issuer::parse(&issuer, true).unwrap(),
                audience_scopes: vec![
                    AudienceScope::native(),
                    "urn:zitadel:iam:org:project:id:{id}:aud".parse().unwrap(),
                ],
                created_by_claim: options.created_by_claim,
                assertions: AssertionPolicy {
                    audiences: [issuer.as_str()]
                        .into_iter()
                        .chain(options.assertion_audiences)
                        .map(str::to_owned)
                        .collect(),
                    lifetime_max: SignedDuration::from_hours(1),
                },
                dpop_nonce_required: options.dpop_nonce_required,
                client_cas: options.client_cas,
                token_bytes: budget::token_bytes(RequestLimits::default().body_bytes),
                restored_at: options.restored_at,
            },
            published: PublishedSettings {
                max_age: jiff::SignedDuration::from_mins(5),
                service_documentation: Some("https://docs.example.com".to_owned()),
                certificates: options.mutual_tls.is_some(),
                client_cas: options.mutual_tls.is_some(),
                other_issuers: options.other_issuers,
                mtls_url: options.mutual_tls.as_ref().map(|_| "https://mtls.example.com".parse().unwrap()),
            },
            request: options.request,
            hash: options.hash,
            failures_per_minute: options.failures_per_minute,
        };
        let fixed = FixedClock(Arc::clone(&clock));
        let endpoint = Endpoint::new(Arc::clone(&clients), fixed, Arc::clone(&keys), settings, metrics.clone());
        let shutdown = CancellationToken::new();
        let router = router(Arc::new(endpoint));
        let mutual = options.mutual_tls.map(|tls| Listener { socket: mutual, tls: Some(tls) });
        let listeners = [Listener { socket, tls: options.tls }].into_iter().chain(mutual).collect();
        let task = tokio::spawn(serve(listeners, router, limits, shutdown.clone()));
        let registry = Arc::new(registry);
        Self { addr, mutual_addr, issuer, clients, clock, keys, install, registry, metrics, credential, shutdown, task }
    }

    pub(crate) async fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        http_client::send(self.addr, &http_client::request(method, target, headers, body.as_bytes())).await
    }

    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &[], "").await
    }

    /// A form to the token endpoint, with these additional headers.
    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: &str) -> Reply {
        self.send("POST", "/oauth2/token", &[headers, &[FORM]].concat(), body).await
    }

    /// A request of the test client, with Basic, the grant and these parameters.
    pub(crate) async fn token(&self, parameters: &str) -> Reply {
        self.token_with(&self.credential, parameters).await
    }

    pub(crate) async fn token_with(&self, credential: &Credential, parameters: &str) -> Reply {
        self.post(&[("authorization", &credential.basic())], &format!("{GRANT}&{parameters}")).await
    }

    /// The claims of a token of the test client.
    pub(crate) async fn claims(&self, parameters: &str) -> Value {
        let reply = self.token(parameters).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        claims(&reply)
    }

    pub(crate) fn credential(&self) -> Credential {
        new_credential(&self.install)
    }

    pub(crate) fn metrics_text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.task.abort();
    }
}

/// One key of each algorithm. Generated once, because RSA keys are slow to generate.
pub(crate) fn key_set() -> JwkSet {
    static KEYS: OnceLock<Vec<Arc<SigningKey>>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let key = |algorithm| SigningKey::from_pkcs8(algorithm, &signing::generate(algorithm).unwrap()).unwrap();
        vec![Arc::new(key(SigningAlgorithm::Es256)), Arc::new(key(SigningAlgorithm::Rs256))]
    });
    JwkSet::new(keys.iter().cloned())
}

pub(crate) const UID: [u8; 16] = [5; 16];

fn new_credential(install: &InstallKeys) -> Credential {
    let (id, value) = SecretValue::generate();
    let verifier = install.hash(value.expose_secret(), UID, HashCost::Generated).unwrap();
    let version = SecretVersion {
        id: id.to_string(),
        verification: Verification::Generated(verifier.into()),
        accepted_until: None,
        memory: Arc::default(),
    };
    Credential { value: value.expose_secret().to_owned(), version: Arc::new(version) }
}

pub(crate) fn object(kind: &'static str, name: &str) -> ObjectRevision {
    ObjectRevision { kind, namespace: "billing".into(), name: name.into(), resource_version: 1234 }
}

pub(crate) fn grant(entries: &[(&str, &str, &str, &'static str)]) -> Arc<Grant> {
    let mut grant = Grant::default();
    for (audience, scope, role, plane) in entries {
        let scopes = grant.permissions.entry((*audience).into()).or_default();
        scopes.entry((*scope).into()).or_default().insert(Role { name: (*role).into(), plane });
    }
    Arc::new(grant)
}

/// A client with two scopes at one audience.
pub(crate) fn record(credential: &Credential) -> ClientRecord {
    record_of(
        grant(&[
            (BILLING, "invoices:read", "billing.reader", "Operational"),
            (BILLING, "invoices:list", "billing.lister", "Operational"),
        ]),
        &[credential],
    )
}

/// A client with scopes at two audiences.
pub(crate) fn record_of_two(credential: &Credential) -> ClientRecord {
    record_of(
        grant(&[
            (BILLING, "invoices:read", "billing.reader", "Operational"),
            (BILLING, "read", "billing.reader", "Operational"),
            (LEDGER, "entries:read", "ledger.admin", "Admin"),
            (LEDGER, "read", "ledger.admin", "Admin"),
        ]),
        &[credential],
    )
}

pub(crate) fn record_of(grant: Arc<Grant>, credentials: &[&Credential]) -> ClientRecord {
    let secrets = credentials.iter().enumerate().map(|(number, credential)| SecretRecord {
        object: object("ClientSecret", &format!("invoice-sync-{number}")),
        uid: UID,
        usages: Usages::ALL,
        networks: None,
        grant: Arc::clone(&grant),
        authority: AUTHORITY.into(),
        expires_at: None,
        disabled: None,
        versions: vec![Arc::clone(&credential.version)],
    });
    ClientRecord {
        client_id: CLIENT_ID.into(),
        subject: SUBJECT.to_owned(),
        identity: Identity {
            username: "billing/invoice-sync".into(),
            location: "/emea/billing".into(),
            name: Some("Invoice sync".into()),
            email: Some("invoice-sync@example.com".into()),
            created_by: Some("jane".into()),
        },
        application: object("Application", "invoice-sync"),
        auth_methods: Method::ALL.iter().copied().collect(),
        networks: None,
        secrets: secrets.collect(),
        keys: Vec::new(),
        service_accounts: Vec::new(),
        issuers: Vec::new(),
        certificates: Vec::new(),
        lockout: Lockout {
            client: LockedClient {
                namespace: "billing".into(),
                name: "invoice-sync".into(),
                uid: "application".into(),
            },
            policy: LockoutPolicy {
                is_enabled: true,
                scope: LockoutScope::Source,
                attempts: 5,
                duration: SignedDuration::from_hours(1),
                unlock: "".into(),
            },
        },
        method_uses: Arc::new(MethodUses::new("application")),
        grant,
        token: TokenPolicy {
            format: TokenFormat::Jwt,
            jwt_type: TokenType::AccessToken,
            lifetime: SignedDuration::from_mins(15),
            signing_algorithm: SigningAlgorithm::Es256,
            scope_policy: ScopePolicy::Reject,
            default_scopes: vec![],
            default_audience: None,
            multiple_audiences: false,
            sender_constraint: SenderConstraint::None,
        },
        token_limit: None,
        epoch: Epoch { service_user: 3, application: 2 },
        authority_changed_at: Timestamp::MIN,
        past: Tombstones::default(),
        is_stale: false,
    }
}

/// The claims of the token in a response, unverified.
pub(crate) fn claims(reply: &Reply) -> Value {
    part(reply, 1)
}

/// The header of the token in a response, unverified.
pub(crate) fn jose_header(reply: &Reply) -> Value {
    part(reply, 0)
}

fn part(reply: &Reply, number: usize) -> Value {
    let token = reply.json()["access_token"].as_str().expect("a token").to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(number).unwrap()).unwrap()).unwrap()
}

pub(crate) fn percent_encode_all(text: &str) -> String {
    text.bytes().flat_map(|byte| format!("%{byte:02X}").into_bytes()).map(char::from).collect()
}

pub(crate) fn instant(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}
