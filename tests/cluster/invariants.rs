//! What holds for a run as a whole. `hack/test` runs these after all other tests, as a step of its own, on the control
//! plane that they used: its audit log, the logs of the processes, and every object are still there.

use crate::harness::{AuditLog, ControlPlane, Credential, leaks, secret_material};

#[test]
#[ignore = "looks back at the other tests: hack/test runs it after them"]
fn the_operator_sent_no_request_that_it_is_not_authorized_for() {
    let answered = AuditLog::from_start(ControlPlane::shared().audit_log()).of_the_operator();
    let refused: Vec<_> = answered.iter().filter(|entry| !entry.authorized).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert!(!answered.is_empty(), "no operator ran on this control plane: run `make test`");
}

/// Dedicated clusters are searched when they end (`harness/cluster.rs`).
#[test]
#[ignore = "looks back at the other tests: hack/test runs it after them"]
fn no_secret_value_of_the_run_is_in_any_log_event_or_status() {
    let controlplane = ControlPlane::shared();
    let mut secrets = Credential::seen_on(&controlplane);
    assert!(!secrets.is_empty(), "no credential was issued on this control plane: run `make test`");
    let tokens = controlplane.operator_tokens();
    assert!(!tokens.is_empty(), "no process of the operator has run on this control plane");
    secrets.extend(tokens);
    secrets.extend(secret_material(&controlplane.stored_secrets()));
    let mut places = controlplane.process_logs();
    places.push(("some object".to_owned(), controlplane.readable_objects()));
    let leaks = leaks(&secrets, &places);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}
