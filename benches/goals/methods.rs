//! Tokens a second of the methods without a shared secret, against a shared secret at the same replica.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use postern::api::Application;
use postern::clock::{Clock as _, SystemClock};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::cluster::{Cluster, namespace};
use crate::endpoint::{SHAPE, Subject};
use crate::http::{TOKEN, Target};
use crate::load::{Outcome, Plan};
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::{Result, median, scratch};

/// The core of the server, and that of the generator.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// Rounds; in each every method is measured once.
const ROUNDS: usize = 5;
/// Length of one measurement. A replica remembers 20,000 assertions of a namespace, which all rounds together must not reach.
const SECONDS: f64 = 0.5;
/// Assertions of one measurement: more than a replica accepts in that time. Each is accepted once.
const ASSERTIONS: usize = 16_000;
/// The ServiceAccount in each namespace.
const ACCOUNT: &str = "bench";

/// Lets every client use every method, and measures each.
pub async fn measure(cluster: &Cluster, subject: &Subject) -> Result<()> {
    let pair = KeyPair::generate()?;
    let private = EncodingKey::from_ec_der(&pair.serialize_der());
    let public = serde_json::to_value(Jwk::from_encoding_key(&private, Algorithm::ES256)?)?;
    let tokens = admit(cluster, subject, &public).await?;
    let replica = Replica::new("methods", &subject.issuer, true)?;
    let process = replica.start(Some(SERVER_CORE))?;
    replica.ready().await?;
    let target = Target { address: replica.listen, ca: None };
    let accounts = subject.credentials.iter().enumerate().map(|(number, (id, _))| {
        let token = tokens.get(number % SHAPE.namespaces).map(String::as_str).unwrap_or_default();
        assertion_body(id, token)
    });
    let accounts: Vec<String> = accounts.collect();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let turn = |name: &str, bodies: &[String]| -> Result<Outcome> {
            let file = scratch()?.join(name);
            std::fs::write(&file, serde_json::to_vec(bodies)?)?;
            let (target, pid) = (target.clone(), process.pid());
            Plan { target, path: TOKEN.to_owned(), pid, bodies: file, proofs_for: None, seconds: SECONDS }
                .execute(LOAD_CORE)
        };
        rounds.push([
            turn("bodies", &subject.bodies())?,
            turn("assertions", &assertions(subject, &private, round)?)?,
            turn("accounts", &accounts)?,
        ]);
    }
    report(&rounds)
}

fn report(rounds: &[[Outcome; 3]]) -> Result<()> {
    let over = |figure: fn(&[Outcome; 3]) -> f64| median(rounds.iter().map(figure).collect());
    let of_secret = "tokens a second on one core / with a shared secret";
    compare(
        format!("(f) private_key_jwt with ES256, {of_secret}"),
        over(|[secret, key, _]| key.tokens_per_second / secret.tokens_per_second),
        "",
        Goal::AtLeast(0.5),
    )?;
    compare(
        format!("(f) ServiceAccount token, reviewed, {of_secret}"),
        over(|[secret, _, account]| account.tokens_per_second / secret.tokens_per_second),
        "",
        Goal::AtLeast(0.4),
    )?;
    note("(f) shared secret", over(|[secret, ..]| secret.tokens_per_second), "/s")?;
    note("(f) private_key_jwt with ES256", over(|[_, key, _]| key.tokens_per_second), "/s")?;
    note("(f) ServiceAccount token", over(|[.., account]| account.tokens_per_second), "/s")
}

/// Lists the key and the ServiceAccount in every Application. Returns a token of the account of each namespace.
async fn admit(cluster: &Cluster, subject: &Subject, key: &Value) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    for number in 0..SHAPE.namespaces {
        tokens.push(cluster.account_token(&namespace(number), ACCOUNT, &subject.issuer).await?);
    }
    let auth = json!({
        "methods": ["client_secret_post", "private_key_jwt", "kubernetes_service_account"],
        "jwks": {"keys": [key]},
        "serviceAccounts": [{"name": ACCOUNT}],
    });
    for number in 0..SHAPE.applications {
        let (namespace, name) = (namespace(number % SHAPE.namespaces), format!("application-{number}"));
        cluster.change::<Application>(&namespace, &name, &json!({"auth": auth})).await?;
    }
    Ok(tokens)
}

/// New assertions of the clients in turn.
fn assertions(subject: &Subject, key: &EncodingKey, round: usize) -> Result<Vec<String>> {
    let now = SystemClock.now().as_second();
    let header = Header::new(Algorithm::ES256);
    let ids = subject.credentials.iter().map(|(id, _)| id).cycle().take(ASSERTIONS);
    let body = |(number, id): (usize, &String)| -> Result<String> {
        let claims = json!({
            "iss": id, "sub": id, "aud": subject.issuer, "exp": now + 60, "jti": format!("{round}-{number}"),
        });
        Ok(assertion_body(id, &jsonwebtoken::encode(&header, &claims, key)?))
    };
    ids.enumerate().map(body).collect()
}

fn assertion_body(id: &str, assertion: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "client_credentials")
        .append_pair("client_id", id)
        .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        .append_pair("client_assertion", assertion)
        .finish()
}
