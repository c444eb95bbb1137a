//! ES256 tokens a second on one core, against the baseline.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::baseline::Client;
use crate::endpoint::Subject;
use crate::http::{Connection, TOKEN, Target};
use crate::load::{Outcome, Plan};
use crate::operator::{Process, Replica, free_address, pinned};
use crate::report::{Goal, compare, note};
use crate::{Result, median, scratch};

/// The core of the servers, which take turns, and that of the generator.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// With lock-out, and with limits that no client reaches. Flags that are given twice have the last value.
const LIMITED: [&str; 4] = ["--failed-authentications-per-minute", "1000000", "--token-requests-per-minute", "100000"];
/// Rounds; in each every server is measured once, so that what else the machine does hits all alike.
const ROUNDS: usize = 9;
/// Length of one measurement.
const SECONDS: f64 = 2.0;

#[derive(Deserialize)]
struct Answer {
    access_token: String,
}

/// Measures Postern and the baseline in turn.
pub async fn measure(subject: &Subject) -> Result<()> {
    let (plain, tls) = (Replica::new("plain", &subject.issuer, true)?, Replica::new("tls", &subject.issuer, false)?);
    let limited = Replica::new("limited", &subject.issuer, true)?;
    let unlocked = ["--lockout-mode", "Disabled"];
    let (plain_process, tls_process) = (plain.start_with(Some(SERVER_CORE), &unlocked)?, tls.start(Some(SERVER_CORE))?);
    let limited_process = limited.start_with(Some(SERVER_CORE), &LIMITED)?;
    for replica in [&plain, &tls, &limited] {
        replica.ready().await?;
    }
    let plain_target = Target { address: plain.listen, ca: None };
    let (baseline_process, baseline_target) = start_baseline(subject, &plain_target).await?;
    let tls_target = Target { address: tls.listen, ca: Some(subject.ca.clone()) };
    let turn = |target: &Target, process: &Process| -> Result<Plan> {
        let (target, pid, bodies) = (target.clone(), process.pid(), scratch()?.join("bodies"));
        Ok(Plan { target, path: TOKEN.to_owned(), pid, bodies, proofs_for: None, seconds: SECONDS })
    };
    let plans = [
        turn(&plain_target, &plain_process)?,
        turn(&baseline_target, &baseline_process)?,
        turn(&tls_target, &tls_process)?,
        Plan { proofs_for: Some(format!("{}{TOKEN}", subject.issuer)), ..turn(&plain_target, &plain_process)? },
        turn(&Target { address: limited.listen, ca: None }, &limited_process)?,
    ];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut round = Vec::new();
        for plan in &plans {
            round.push(plan.execute(LOAD_CORE)?);
        }
        rounds.push(round.try_into().map_err(|_| "a round lacks a measurement")?);
    }
    report(&rounds)
}

fn report(rounds: &[[Outcome; 5]]) -> Result<()> {
    let over = |figure: fn(&[Outcome; 5]) -> f64| median(rounds.iter().map(figure).collect());
    compare(
        "(a) ES256 tokens a second on one core, Postern / baseline",
        over(|[postern, baseline, ..]| postern.tokens_per_second / baseline.tokens_per_second),
        "",
        Goal::AtLeast(0.75),
    )?;
    note(
        "(a) the same, per second of processor time",
        over(|[postern, baseline, ..]| postern.per_cpu_second() / baseline.per_cpu_second()),
        "",
    )?;
    compare(
        "(a) DPoP-bound tokens per second of processor time / bearer tokens",
        over(|[postern, _, _, dpop, _]| dpop.per_cpu_second() / postern.per_cpu_second()),
        "",
        Goal::AtLeast(0.4),
    )?;
    compare(
        "(a) processor time of lock-out and rate limits in a token request",
        over(|[postern, .., limited]| 1e6 / limited.per_cpu_second() - 1e6 / postern.per_cpu_second()),
        "µs",
        Goal::AtMost(1.0),
    )?;
    note("(a) Postern, processor time of a DPoP-bound token", over(|[.., dpop, _]| 1e6 / dpop.per_cpu_second()), "µs")?;
    note("(a) Postern", over(|[postern, ..]| postern.tokens_per_second), "/s")?;
    note("(a) baseline", over(|[_, baseline, ..]| baseline.tokens_per_second), "/s")?;
    note("(a) Postern with TLS", over(|[_, _, tls, ..]| tls.tokens_per_second), "/s")?;
    note("(a) Postern, processor time of a token", over(|[postern, ..]| 1e6 / postern.per_cpu_second()), "µs")?;
    note("(a) baseline, processor time of a token", over(|[_, baseline, ..]| 1e6 / baseline.per_cpu_second()), "µs")?;
    note("(a) Postern, latency with 16 connections, median", over(|[postern, ..]| postern.latency_us.0), "µs")?;
    note("(a) Postern, latency with 16 connections, 99 %", over(|[postern, ..]| postern.latency_us.1), "µs")?;
    note("(a) share of its core that Postern had", over(|[postern, ..]| postern.server_cpu), "")?;
    note("(a) share of its core that the baseline had", over(|[_, baseline, ..]| baseline.server_cpu), "")
}

/// Starts the baseline with the same clients and checks that it signs the same tokens.
async fn start_baseline(subject: &Subject, postern: &Target) -> Result<(Process, Target)> {
    let mut clients = Vec::new();
    let mut connection = Connection::open(postern.address, None).await?;
    for ((id, secret), body) in subject.credentials.iter().zip(subject.bodies()) {
        let token = issued(&mut connection, &body).await?;
        let time = |name: &str| token.get(name).and_then(Value::as_u64).ok_or("a token has no time");
        let lifetime = time("exp")? - time("iat")?;
        let claims = parse(Value::Object(token))?;
        clients.push(Client { id: id.clone(), secret: secret.clone(), lifetime, claims });
    }
    let file = scratch()?.join("clients");
    std::fs::write(&file, serde_json::to_vec(&clients)?)?;
    let target = Target { address: free_address()?, ca: None };
    let mut command = pinned(SERVER_CORE, &std::env::current_exe()?);
    command.args(["baseline", &target.address.to_string()]).arg(&file);
    let process = Process::start(command, "baseline.log")?;
    let mut other = loop {
        match Connection::open(target.address, None).await {
            Ok(connection) => break connection,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    for body in subject.bodies() {
        let (ours, theirs) = (issued(&mut connection, &body).await?, issued(&mut other, &body).await?);
        if fixed(&ours) != fixed(&theirs) {
            return Err(format!("the baseline signs something else: {theirs:?} instead of {ours:?}").into());
        }
    }
    Ok((process, target))
}

/// What a token says that does not change from token to token, and the names of what does.
fn fixed(claims: &Map<String, Value>) -> Map<String, Value> {
    let value = |(name, value): (&String, &Value)| {
        let changes = ["iat", "exp", "jti"].contains(&name.as_str());
        (name.clone(), if changes { Value::Null } else { value.clone() })
    };
    claims.iter().map(value).collect()
}

/// The claims of a new token.
async fn issued(connection: &mut Connection, body: &str) -> Result<Map<String, Value>> {
    let (status, answer) = connection.token(&Bytes::from(body.to_owned())).await?;
    if status != StatusCode::OK {
        return Err(format!("a token request was answered with {status}: {}", String::from_utf8_lossy(&answer)).into());
    }
    let token = serde_json::from_slice::<Answer>(&answer)?.access_token;
    let claims = token.split('.').nth(1).ok_or("not a JWT")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?)
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T> {
    Ok(serde_json::from_value(value)?)
}
