//! A delivered credential and what it is good for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern::clock::{Clock as _, SystemClock};
use postern::crypto::random;
use postern::crypto::secret::IMPORTED_LENGTH;
use postern::oauth::client_auth::ASSERTION_TYPE;
use serde_json::{Value, json};

use super::controlplane::ControlPlane;
use super::http::{self, Connections};

/// A credential as a pod finds it: the keys of the delivered Secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Credential {
    keys: BTreeMap<String, String>,
}

/// Every secret value that any test of this run came across, in every form in which it travels.
static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The same in the folder of the control plane of the run, for the tests that look back at the run.
fn record(forms: &[String]) {
    let file = ControlPlane::shared().seen_values();
    let mut file = OpenOptions::new().append(true).create(true).open(file).expect("open the list of values");
    let lines: String = forms.iter().flat_map(|form| [form, "\n"]).collect();
    file.write_all(lines.as_bytes()).expect("record the values");
}

impl Credential {
    /// Reads it from the Secret.
    pub fn delivered_in(secret: &Value) -> Self {
        let data = secret["data"].as_object().expect("a Secret with data");
        let text = |value: &Value| {
            let bytes = BASE64_STANDARD.decode(value.as_str().expect("a string")).expect("base64");
            String::from_utf8(bytes).expect("text")
        };
        let keys: BTreeMap<_, _> = data.iter().map(|(key, value)| (key.clone(), text(value))).collect();
        let credential = Self { keys };
        // What is shorter is no credential, but a word that a test put in its place.
        if let Some(secret) = credential.find("client-secret").filter(|secret| IMPORTED_LENGTH.contains(&secret.len()))
        {
            Self::mark_seen(vec![secret.to_owned(), BASE64_STANDARD.encode(secret), credential.basic()]);
        }
        if let Some(pem) = credential.find("private-key") {
            // Each line but the last, which may be short.
            let lines = pem.lines().filter(|line| line.len() == 64).map(str::to_owned);
            Self::mark_seen(lines.chain([BASE64_STANDARD.encode(pem)]).collect());
        }
        credential
    }

    fn mark_seen(forms: Vec<String>) {
        record(&forms);
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).extend(forms);
    }

    /// What names the version: the value, or the key id.
    pub fn version(&self) -> &str {
        self.find("key-id").unwrap_or_else(|| self.key("client-secret"))
    }

    /// A client assertion (RFC 7523 §2.2) that the private key signs.
    pub fn assertion(&self, private_key: &str, algorithm: Algorithm) -> String {
        let now = SystemClock.now().as_second();
        let id = self.key("client-id");
        let claims = json!({
            "iss": id, "sub": id, "aud": self.key("issuer-uri"), "exp": now + 60,
            "jti": BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<16>()),
        });
        let body: String = private_key.lines().filter(|line| !line.starts_with('-')).collect();
        let der = BASE64_STANDARD.decode(body).expect("PEM");
        let key = match algorithm {
            Algorithm::ES256 => EncodingKey::from_ec_der(&der),
            Algorithm::EdDSA => EncodingKey::from_ed_der(&der),
            // PKCS#1, which PKCS#8 contains after a header of this length.
            _ => EncodingKey::from_rsa_der(&der[26..]),
        };
        let header = Header { kid: Some(self.key("key-id").to_owned()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &claims, &key).expect("an assertion")
    }

    /// The form parameters by which a key pair authenticates; none for a value.
    fn assertion_parameters(&self) -> Vec<(&'static str, String)> {
        let Some(private_key) = self.find("private-key") else { return Vec::new() };
        let jwk: Value =
            self.find("private-key.jwk").map_or(Value::Null, |jwk| serde_json::from_str(jwk).expect("a JWK"));
        let algorithm = jwk["alg"].as_str().unwrap_or("ES256").parse().expect("an algorithm");
        vec![
            ("client_assertion_type", ASSERTION_TYPE.to_owned()),
            ("client_assertion", self.assertion(private_key, algorithm)),
        ]
    }

    /// All secret values seen so far, in every form in which they travel.
    pub fn all_seen() -> Vec<String> {
        Self::seen_after(0)
    }

    /// The values that any process saw on this control plane.
    pub fn seen_on(controlplane: &ControlPlane) -> Vec<String> {
        let text = std::fs::read_to_string(controlplane.seen_values()).unwrap_or_default();
        let forms: BTreeSet<_> = text.lines().map(str::to_owned).collect();
        forms.into_iter().collect()
    }

    /// How many forms have been seen so far, for [`Self::seen_after`].
    pub fn seen() -> usize {
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Those that came after so many others.
    pub fn seen_after(others: usize) -> Vec<String> {
        let mut forms = SEEN.lock().unwrap_or_else(PoisonError::into_inner)[others..].to_vec();
        forms.sort();
        forms.dedup();
        forms
    }

    /// The value of a key.
    pub fn key(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("the delivered Secret has no {name}"))
    }

    /// By either name: `client-id`, or `CLIENT_ID` where keys are named for environment variables.
    fn find(&self, name: &str) -> Option<&str> {
        let env = name.to_uppercase().replace('-', "_");
        self.keys.get(name).or_else(|| self.keys.get(&env)).map(String::as_str)
    }

    /// All keys, in order.
    pub fn names(&self) -> Vec<&str> {
        self.keys.keys().map(String::as_str).collect()
    }

    /// The same with another secret.
    pub fn with_secret(&self, value: &str) -> Self {
        let mut keys = self.keys.clone();
        keys.insert("client-secret".to_owned(), value.to_owned());
        Self { keys }
    }

    /// The same with another key id.
    pub fn with_key_id(&self, id: &str) -> Self {
        let mut keys = self.keys.clone();
        keys.insert("key-id".to_owned(), id.to_owned());
        Self { keys }
    }

    /// The same as a client sends it that form-encodes id and secret before Base64 (RFC 6749 §2.3.1).
    pub fn form_encoded(&self) -> Self {
        let encoded: String = form_urlencoded::byte_serialize(self.key("client-secret").as_bytes()).collect();
        self.with_secret(&encoded)
    }

    /// The Authorization header that a client sends.
    pub fn authorization(&self) -> String {
        format!("Basic {}", self.basic())
    }

    fn basic(&self) -> String {
        let key = |name: &str| self.find(name).unwrap_or_default();
        BASE64_STANDARD.encode(format!("{}:{}", key("client-id"), key("client-secret")))
    }

    /// A token request with this form as its body.
    pub fn request(&self, replica: &str, form: Body) -> Request<Body> {
        Request::post(format!("{replica}/oauth2/token"))
            .header(header::AUTHORIZATION, self.authorization())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form)
            .expect("a request")
    }

    /// Asks the management endpoint of a replica for something, in the name of this secret.
    pub async fn manage(&self, connections: &Connections, replica: &str, what: &str) -> http::Answer {
        let request = Request::post(format!("{replica}/manage/v1/{what}"))
            .header(header::AUTHORIZATION, format!("Basic {}", self.basic()))
            .body(Body::empty())
            .expect("a request");
        http::send(connections, request).await.expect("an answer")
    }

    /// Posts a form to any endpoint, in the name of this credential.
    pub async fn post(&self, connections: &Connections, url: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::post(url)
            .header(header::AUTHORIZATION, self.authorization())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .expect("a request");
        let answer = http::send(connections, request).await.expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// Requests a token with a form that contains the credential.
    pub async fn anonymous_post(connections: &Connections, url: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .extend_pairs(form)
            .finish();
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .expect("a request");
        let answer = http::send(connections, request).await.expect("an answer");
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
    }

    /// What a replica says of a token to this credential.
    pub async fn introspect(&self, connections: &Connections, replica: &str, token: &str) -> (StatusCode, Value) {
        self.post(connections, &format!("{replica}/oauth2/introspect"), &[("token", token), ("touch", "false")]).await
    }

    /// Asks a replica for a token, form parameters beside `grant_type` in `form`.
    pub async fn ask(
        &self,
        connections: &Connections,
        replica: &str,
        form: &[(&str, &str)],
    ) -> Result<TokenAnswer, String> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .extend_pairs(form)
            .extend_pairs(self.assertion_parameters())
            .finish();
        let mut request = self.request(replica, Body::from(body));
        if self.find("private-key").is_some() {
            request.headers_mut().remove(header::AUTHORIZATION);
        }
        let answer = http::send(connections, request).await?;
        let body = serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"))?;
        Ok(TokenAnswer { status: answer.status, body })
    }
}

/// What the token endpoint said.
#[derive(Debug)]
pub struct TokenAnswer {
    pub status: StatusCode,
    pub body: Value,
}

impl TokenAnswer {
    /// The token that was granted.
    pub fn token(&self) -> &str {
        self.body["access_token"].as_str().unwrap_or_else(|| panic!("a token, not {}", self.body))
    }

    /// The claims of the token that was granted; `Err` is the refusal.
    pub fn claims(&self) -> Result<Value, String> {
        if self.status != StatusCode::OK {
            return Err(format!("{} {}", self.status.as_u16(), self.error()));
        }
        let payload = self.token().split('.').nth(1).expect("a JWT");
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url");
        Ok(serde_json::from_slice(&payload).expect("JSON claims"))
    }

    /// The error code; empty when there is none.
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }
}
