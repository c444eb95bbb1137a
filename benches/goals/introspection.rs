//! Introspections a second on one core, against tokens a second of the same kind.

use hyper::StatusCode;
use postern::api::Application;
use serde::Deserialize;
use serde_json::json;

use crate::cluster::{Cluster, namespace};
use crate::endpoint::{SHAPE, Subject};
use crate::http::{Connection, INTROSPECT, TOKEN, Target};
use crate::load::{Outcome, Plan};
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::{Result, median, scratch};

/// Cores of the server and of the generator.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// Issue and introspection take turns this often, …
const ROUNDS: usize = 5;
/// … for so long each.
const SECONDS: f64 = 2.0;

#[derive(Deserialize)]
struct Answer {
    access_token: String,
}

/// Measures tokens of both forms.
pub async fn measure(cluster: &Cluster, subject: &Subject) -> Result<()> {
    let replica = Replica::new("introspecting", &subject.issuer, true)?;
    let process = replica.start(Some(SERVER_CORE))?;
    replica.ready().await?;
    let target = Target { address: replica.listen, ca: None };
    for format in ["JWT", "Opaque"] {
        for number in 0..SHAPE.applications {
            let token = json!({"token": {"format": format}});
            let namespace = namespace(number % SHAPE.namespaces);
            cluster.change::<Application>(&namespace, &format!("application-{number}"), &token).await?;
        }
        let forms = introspections(subject, &target, format == "Opaque").await?;
        let file = scratch()?.join(format!("introspections-{format}"));
        std::fs::write(&file, serde_json::to_vec(&forms)?)?;
        let plan = |path: &str, bodies| {
            let (target, path, pid) = (target.clone(), path.to_owned(), process.pid());
            Plan { target, path, pid, bodies, proofs_for: None, seconds: SECONDS }
        };
        let (issue, introspect) = (plan(TOKEN, scratch()?.join("bodies")), plan(INTROSPECT, file));
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push([issue.execute(LOAD_CORE)?, introspect.execute(LOAD_CORE)?]);
        }
        report(format, &rounds)?;
    }
    for number in 0..SHAPE.applications {
        let namespace = namespace(number % SHAPE.namespaces);
        let back = json!({"token": {"format": null}});
        cluster.change::<Application>(&namespace, &format!("application-{number}"), &back).await?;
    }
    Ok(())
}

fn report(format: &str, rounds: &[[Outcome; 2]]) -> Result<()> {
    let over = |figure: fn(&[Outcome; 2]) -> f64| median(rounds.iter().map(figure).collect());
    compare(
        format!("introspection of {format} tokens a second / issue of them"),
        over(|[issued, told]| told.tokens_per_second / issued.tokens_per_second),
        "",
        Goal::AtLeast(1.0),
    )?;
    note(
        format!("{format}: the same, per second of processor time"),
        over(|[issued, told]| told.per_cpu_second() / issued.per_cpu_second()),
        "",
    )?;
    note(format!("{format} tokens introspected"), over(|[_, told]| told.tokens_per_second), "/s")?;
    note(format!("{format} tokens issued"), over(|[issued, _]| issued.tokens_per_second), "/s")?;
    note(format!("{format}: share of its core at introspection"), over(|[_, told]| told.server_cpu), "")?;
    note(format!("{format}: share of its core at issue"), over(|[issued, _]| issued.server_cpu), "")
}

/// For each client the form by which it introspects its token.
async fn introspections(subject: &Subject, target: &Target, opaque: bool) -> Result<Vec<String>> {
    let mut connection = Connection::open(target.address, None).await?;
    let mut forms = Vec::new();
    for (number, body) in subject.bodies().into_iter().enumerate() {
        let body = body.into();
        let token = loop {
            let (status, answer) = connection.token(&body).await?;
            if status != StatusCode::OK {
                return Err(format!("client {number} is answered with {status}").into());
            }
            let token = serde_json::from_slice::<Answer>(&answer)?.access_token;
            if token.starts_with("pat_") == opaque {
                break token;
            }
        };
        let form = subject.form(number, "token", &token)?;
        let (_, told) = connection.post(INTROSPECT, &form).await?;
        if !String::from_utf8_lossy(&told).contains("\"active\":true") {
            return Err(format!("a token is not active: {}", String::from_utf8_lossy(&told)).into());
        }
        forms.push(String::from_utf8(form.to_vec())?);
    }
    Ok(forms)
}
