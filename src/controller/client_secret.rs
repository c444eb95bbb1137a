//! ClientSecret: gather, decide, deliver, tell.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::controller::Action as Next;

use super::apply::Created;
use super::gather::{Seen, describe};
use super::{Context, Error, agenda};
use crate::api::ClientSecret;
use crate::api::client_secret::ClientSecretStatus;
use crate::api::conditions::{reasons, types};
use crate::clock::Clock;
use crate::model::is_deleting;
use crate::plan::client_secret::{Action, ApplicationState, Delivered, Observed, Outcome, decide, next_due, status};

/// A Secret of somebody else is not watched; this often it is asked whether it is still there.
const CONFLICT_LOOK: Duration = Duration::from_mins(1);

pub(super) async fn reconcile<C: Clock>(secret: Arc<ClientSecret>, context: Arc<Context<C>>) -> Result<Next, Error> {
    if is_deleting(secret.as_ref()) || context.written.is_ahead_of(secret.as_ref()) {
        return Ok(Next::await_change());
    }
    let application = context.application_state(&secret);
    let delivered = match &application {
        ApplicationState::Known { content, .. } => match context.delivered(&secret, content).await? {
            Seen::Behind => return Ok(Next::await_change()),
            Seen::Now(delivered) => delivered,
        },
        _ => Delivered::Unknown,
    };
    let (rank, older_claimant) = context.place(&secret);
    let limit = context.settings.secrets_per_application;
    let now = context.clock.now();
    let mut observed = Observed { secret: &secret, application, rank, limit, older_claimant, delivered, now };
    let outcome = act(&context, &mut observed).await?;
    let wanted = status(&observed, &outcome);
    context.write_status(context.api_of(secret.as_ref()), secret.as_ref(), secret.status.as_ref(), &wanted).await?;
    tell(&context, &secret, &wanted, &outcome);
    Ok(next(&observed, &wanted))
}

/// Does what was decided. A Secret that turns out to exist is looked at and decided about once more.
async fn act<C: Clock>(context: &Context<C>, observed: &mut Observed<'_>) -> Result<Outcome, Error> {
    if decide(observed) == Action::Create {
        let ApplicationState::Known { content, .. } = &observed.application else { return Ok(Outcome::Unchanged) };
        match context.create(observed.secret, content).await? {
            Created::Issued(outcome) => return Ok(outcome),
            Created::Occupied => observed.delivered = context.delivered_live(observed.secret, content).await?,
        }
    }
    let action = decide(observed);
    let ApplicationState::Known { content, .. } = &observed.application else { return Ok(Outcome::Unchanged) };
    let owner = observed.secret;
    match action {
        Action::None => Ok(Outcome::Unchanged),
        // It went away between two looks; the next one finds out.
        Action::Create => Err(Error::Unsettled { object: describe(owner) }),
        Action::Adopt => {
            let found = context.read_own(owner).await?;
            match context.adopted(owner, &found)? {
                Some(outcome) => Ok(outcome),
                None => context.replace(owner, &found, content).await,
            }
        }
        Action::Repair => {
            let found = context.read_own(owner).await?;
            if !context.holds_active_value(owner, &found) {
                return context.replace(owner, &found, content).await;
            }
            let tampered = matches!(observed.delivered, Delivered::Ours { intact: false, .. });
            // An update of our own (a scope more, another issuer) is nothing that a person has to know.
            if context.repair(owner, &found, content).await? && tampered {
                let text = "What was changed in the delivered Secret was put right.".to_owned();
                context.events.normal(owner, reasons::REPAIRED, "Repair", text);
            }
            Ok(Outcome::Unchanged)
        }
        Action::Replace => {
            let found = context.read_own(owner).await?;
            context.replace(owner, &found, content).await
        }
    }
}

fn next(observed: &Observed<'_>, status: &ClientSecretStatus) -> Next {
    if matches!(observed.delivered, Delivered::Foreign { .. }) {
        return Next::requeue(CONFLICT_LOOK);
    }
    agenda::next(next_due(&observed.secret.spec, status, observed.now), observed.now)
}

/// One event for what was issued, and one when the reason for a refusal is a new one.
fn tell<C: Clock>(context: &Context<C>, secret: &ClientSecret, status: &ClientSecretStatus, outcome: &Outcome) {
    if let Outcome::Issued { hint, .. } = outcome {
        let name = secret.spec.secret_name(&secret.metadata);
        let first = secret.status.as_ref().is_none_or(|status| status.versions.is_empty());
        let (reason, text) = if first {
            (reasons::ISSUED, format!("Credential {hint}… is delivered in Secret {name}."))
        } else {
            let text = format!("Credential {hint}… is delivered in Secret {name}; the one before it is refused.");
            (reasons::REISSUED, text)
        };
        context.events.normal(secret, reason, "Issue", text);
    }
    let before = secret.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    super::events::refusal(&context.events, secret, before, &status.conditions, types::READY);
}
