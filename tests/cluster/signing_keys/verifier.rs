//! An API that verifies tokens offline with a key set that it caches for as long as it may, and never fetches earlier.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::header;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::http::{self, Connections};
use crate::harness::{Cluster, Credential, Replica};

/// Between two tokens of each replica.
const PAUSE: Duration = Duration::from_millis(100);
/// A token is verified again at this age. It lives for 20 s.
const AGE: Duration = Duration::from_secs(15);

/// A cached key set.
struct Cached {
    keys: JwkSet,
    until: Instant,
}

async fn fetch(connections: &Connections, replica: &str) -> Result<Cached, String> {
    let answer = http::get(connections, &format!("{replica}/oauth2/jwks")).await?;
    let control = answer.headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let age =
        control.split("max-age=").nth(1).and_then(|age| age.parse().ok()).ok_or(format!("no max-age: {control}"))?;
    let keys = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    Ok(Cached { keys, until: Instant::now() + Duration::from_secs(age) })
}

/// The ids of the published keys.
pub(crate) async fn published(connections: &Connections, replica: &str) -> Result<Vec<String>, String> {
    let cached = fetch(connections, replica).await?;
    Ok(cached.keys.keys.iter().filter_map(|key| key.common.key_id.clone()).collect())
}

/// The key that a replica signs with.
pub(crate) async fn kid_of_a_new_token(
    credential: &Credential,
    connections: &Connections,
    replica: &str,
) -> Result<String, String> {
    let answer = credential.ask(connections, replica, &[]).await?;
    answer.claims()?;
    decode_header(answer.token()).ok().and_then(|header| header.kid).ok_or("no kid".to_owned())
}

/// The algorithm of a token.
pub(crate) fn algorithm_of(token: &str) -> String {
    format!("{:?}", decode_header(token).expect("a JWT").alg)
}

fn verify(cached: &Cached, token: &str) -> Result<Value, String> {
    let header = decode_header(token).map_err(|error| error.to_string())?;
    let kid = header.kid.unwrap_or_default();
    let known = || cached.keys.keys.iter().filter_map(|key| key.common.key_id.as_deref()).collect::<Vec<_>>();
    let jwk = cached.keys.find(&kid).ok_or_else(|| format!("unknown key {kid}, known are {:?}", known()))?;
    let key = DecodingKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    let mut validation = Validation::new(header.alg);
    validation.validate_aud = false;
    validation.validate_exp = true;
    decode::<Value>(token, &key, &validation).map(|verified| verified.claims).map_err(|error| error.to_string())
}

/// A client that gets tokens of every replica, and APIs that verify them: offline, and at the other replica.
pub(crate) struct Verifying {
    task: JoinHandle<Vec<Result<(), String>>>,
    end: CancellationToken,
}

impl Verifying {
    pub(crate) fn start(cluster: &Arc<Cluster>, credential: &Credential) -> Self {
        Self::at(cluster, &cluster.replicas.iter().collect::<Vec<_>>(), credential)
    }

    /// The same at some of the replicas.
    pub(crate) fn at(cluster: &Arc<Cluster>, replicas: &[&Replica], credential: &Credential) -> Self {
        let replicas: Vec<String> = replicas.iter().map(|replica| replica.url.clone()).collect();
        let (cluster, credential, end) = (cluster.clone(), credential.clone(), CancellationToken::new());
        let ended = end.clone();
        let task = tokio::spawn(async move {
            let connections = cluster.connections();
            let mut apis: Vec<Option<Cached>> = replicas.iter().map(|_| None).collect();
            let (mut results, mut older) = (Vec::new(), VecDeque::new());
            while !ended.is_cancelled() {
                for number in 0..replicas.len() {
                    let issued = credential.ask(&connections, &replicas[number], &[]).await;
                    let token = issued.and_then(|answer| answer.claims().map(|_| answer.token().to_owned()));
                    let checked = match &token {
                        Ok(token) => is_accepted(&replicas, &connections, &credential, &mut apis, number, token).await,
                        Err(error) => Err(error.clone()),
                    };
                    results.push(checked);
                    older.extend(token.ok().map(|token| (Instant::now(), number, token)));
                }
                while older.front().is_some_and(|(at, ..): &(Instant, usize, String)| at.elapsed() >= AGE) {
                    let Some((_, number, token)) = older.pop_front() else { break };
                    let checked = is_accepted(&replicas, &connections, &credential, &mut apis, number, &token).await;
                    results.push(checked.map_err(|error| format!("an older token: {error}")));
                }
                tokio::time::sleep(PAUSE).await;
            }
            results
        });
        Self { task, end }
    }

    /// Ends, and asserts that so many tokens and all of them were accepted.
    pub(crate) async fn were_all_right(self, least: usize) {
        self.end.cancel();
        let results = self.task.await.expect("it ran");
        let wrong: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
        assert!(wrong.is_empty() && results.len() >= least, "{} of {}: {wrong:#?}", wrong.len(), results.len());
    }
}

/// A token of a replica is accepted by the API that has fetched its keys from the other one, and by the other one.
async fn is_accepted(
    replicas: &[String],
    connections: &Connections,
    credential: &Credential,
    apis: &mut [Option<Cached>],
    number: usize,
    token: &str,
) -> Result<(), String> {
    let other = (number + 1) % replicas.len();
    let (api, replica) = (&mut apis[other], replicas[other].as_str());
    if api.as_ref().is_none_or(|cached| cached.until <= Instant::now()) {
        *api = Some(fetch(connections, replica).await?);
    }
    verify(api.as_ref().expect("fetched"), token)?;
    let (status, answer) = credential.introspect(connections, replica, token).await;
    if answer["active"] == true { Ok(()) } else { Err(format!("introspected at {replica}: {status} {answer}")) }
}
