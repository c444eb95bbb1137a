//! From the start of the process to its first token.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::{Instant, sleep};

use crate::endpoint::Subject;
use crate::http::{Connection, Target};
use crate::operator::Replica;
use crate::report::{Goal, compare, note};
use crate::{Result, median};

/// Starts that count. One more before them fills the page cache.
const STARTS: usize = 11;
/// Pause between two attempts.
const POLL: Duration = Duration::from_millis(1);
/// A start that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(30);

/// Measures it with TLS, as it is run.
pub async fn measure(subject: &Subject) -> Result<()> {
    let mut took = Vec::new();
    for number in 0..=STARTS {
        let elapsed = start(subject).await?;
        if number > 0 {
            took.push(elapsed.as_secs_f64() * 1000.0);
        }
    }
    let slowest = took.iter().copied().fold(0.0, f64::max);
    compare("(d) From exec to the first token, 100 clients", median(took), "ms", Goal::AtMost(300.0))?;
    note(format!("(d) the slowest of {STARTS} starts"), slowest, "ms")
}

async fn start(subject: &Subject) -> Result<Duration> {
    let replica = Replica::new("starting", &subject.issuer, false)?;
    let target = Target { address: replica.listen, ca: Some(subject.ca.clone()) };
    let (tls, body) = (target.tls()?, subject.body());
    let started = Instant::now();
    let _running = replica.start(None)?;
    let asking = async {
        let mut connection = None;
        loop {
            match connection.as_mut() {
                None => connection = Connection::open(target.address, tls.as_ref()).await.ok(),
                Some(open) => match Connection::token(open, &body).await {
                    Ok((StatusCode::OK, _)) => return started.elapsed(),
                    Ok(_) => {}
                    Err(_) => connection = None,
                },
            }
            sleep(POLL).await;
        }
    };
    tokio::time::timeout(LIMIT, asking).await.map_err(|_| "no token 30 s after the start, see starting.log".into())
}
