//! The least that can issue the same token: parses the form, looks the client up in a map, compares a MAC of the secret in
//! constant time and signs. No limits, no log, no metrics, no authority, no refusal explained.
//!
//! It is what Postern's tokens a second are held against, so it is written to be fast.
#![expect(clippy::disallowed_methods, reason = "randomness and time without Postern's own detours")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::routing::post;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::Result;

/// A client, and what a token of it says; taken from a real token of Postern, so that both sign the same.
#[derive(Debug, Deserialize, Serialize)]
pub struct Client {
    /// `client_id`
    pub id: String,
    /// `client_secret`
    pub secret: String,
    /// Life of a token in seconds.
    pub lifetime: u64,
    /// The claims that are the same in every token.
    pub claims: FixedClaims,
}

/// Claims that do not change from token to token.
#[derive(Debug, Deserialize, Serialize)]
pub struct FixedClaims {
    iss: String,
    sub: String,
    aud: String,
    client_id: String,
    scope: String,
    roles: Vec<String>,
    planes: Vec<String>,
    location: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    postern_epoch: [i64; 2],
    postern_authority: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    client_id: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
    scope: &'a str,
    roles: &'a [String],
    planes: &'a [String],
    location: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    postern_epoch: [i64; 2],
    postern_authority: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
}

struct Known {
    mac: hmac::Tag,
    client: Client,
}

struct Server {
    clients: HashMap<String, Known>,
    mac: hmac::Key,
    key: EcdsaKeyPair,
    header: String,
    random: SystemRandom,
}

/// Serves the clients of a file until it is killed.
pub fn run(address: SocketAddr, clients: &str) -> Result<()> {
    let clients: Vec<Client> = serde_json::from_slice(&std::fs::read(clients)?)?;
    let random = SystemRandom::new();
    let mac = hmac::Key::generate(hmac::HMAC_SHA256, &random)?;
    let known = |client: Client| {
        let tag = hmac::sign(&mac, client.secret.as_bytes());
        (client.id.clone(), Known { mac: tag, client })
    };
    let clients = clients.into_iter().map(known).collect();
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let kid = URL_SAFE_NO_PAD.encode(hmac::sign(&mac, b"kid"));
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"at+jwt","alg":"ES256","kid":"{kid}"}}"#));
    let server = Arc::new(Server { clients, mac, key, header, random });
    let router = Router::new().route("/oauth2/token", post(token)).with_state(server);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, router).await.map_err(Into::into)
    })
}

async fn token(State(server): State<Arc<Server>>, body: Bytes) -> Response<Body> {
    let (status, body) = match server.answer(&body) {
        Ok(body) => (StatusCode::OK, Body::from(body)),
        Err(_) => (StatusCode::UNAUTHORIZED, Body::empty()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Server {
    fn answer(&self, body: &[u8]) -> Result<Vec<u8>> {
        let (mut grant_type, mut client_id, mut client_secret) = (None, None, None);
        for (name, value) in form_urlencoded::parse(body) {
            match name.as_ref() {
                "grant_type" => grant_type = Some(value),
                "client_id" => client_id = Some(value),
                "client_secret" => client_secret = Some(value),
                _ => {}
            }
        }
        let known = client_id.and_then(|id| self.clients.get(id.as_ref())).ok_or("unknown client")?;
        let secret = client_secret.ok_or("no secret")?;
        hmac::verify(&self.mac, secret.as_bytes(), known.mac.as_ref())?;
        if grant_type.as_deref() != Some("client_credentials") {
            return Err("unknown grant".into());
        }
        let access_token = self.sign(&known.client)?;
        let answer = Answer {
            access_token,
            token_type: "Bearer",
            expires_in: known.client.lifetime,
            scope: &known.client.claims.scope,
        };
        Ok(serde_json::to_vec(&answer)?)
    }

    fn sign(&self, client: &Client) -> Result<String> {
        let iat = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id)?;
        let jti = URL_SAFE_NO_PAD.encode(id);
        let fixed = &client.claims;
        let claims = serde_json::to_vec(&Claims {
            iss: &fixed.iss,
            sub: &fixed.sub,
            aud: &fixed.aud,
            client_id: &fixed.client_id,
            iat,
            exp: iat + client.lifetime,
            jti: &jti,
            scope: &fixed.scope,
            roles: &fixed.roles,
            planes: &fixed.planes,
            location: &fixed.location,
            created_by: fixed.created_by.as_deref(),
            postern_epoch: fixed.postern_epoch,
            postern_authority: &fixed.postern_authority,
        })?;
        let mut token = String::with_capacity(self.header.len() + claims.len() * 4 / 3 + 92);
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&claims, &mut token);
        let signature = self.key.sign(&self.random, token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.as_ref(), &mut token);
        Ok(token)
    }
}
