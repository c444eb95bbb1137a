//! What the replicas publish to each other and to the controller. A revocation or a request is published before it is
//! answered; uses are published in batches.

pub(crate) mod api_store;
pub(crate) mod applied_revisions;
mod cas_object;
mod group_commit;
pub(crate) mod heartbeat;
mod idle_sessions;
pub(crate) mod key_reports;
pub mod lockouts;
mod revocations;
mod rotation_requests;
mod token_state;

use std::sync::Arc;

use jiff::Timestamp;

use crate::crypto::random;
use crate::oauth::lockout::Lockouts;
use crate::replica_state::api_store::ApiStore;
use crate::replica_state::idle_sessions::IdleSessions;
use crate::replica_state::lockouts::LockoutReports;
use crate::replica_state::revocations::Revocations;
use crate::replica_state::rotation_requests::RotationRequests;
use crate::replica_state::token_state::TokenState;

/// The received state, and what this replica publishes.
pub(crate) struct SharedState {
    pub(crate) token_state: Arc<TokenState>,
    pub(crate) revocations: Arc<Revocations<ApiStore>>,
    pub(crate) sessions: IdleSessions<ApiStore>,
    pub(crate) requests: Arc<RotationRequests<ApiStore>>,
    pub(crate) lockouts: Arc<Lockouts>,
    pub(crate) lockout_reports: LockoutReports<ApiStore>,
}

impl SharedState {
    pub(crate) fn new(states: &ApiStore) -> Self {
        let token_state: Arc<TokenState> = Arc::default();
        // Part of the names of this process's objects: it does not overwrite objects of an earlier process with the
        // same replica name.
        let process_id = format!("{:08x}", u32::from_be_bytes(random::bytes()));
        let empty_spec = states.empty_spec(Timestamp::MIN);
        let revocations =
            Revocations::new(states.clone(), Arc::clone(&token_state), empty_spec.clone(), process_id.clone());
        let requests = Arc::new(RotationRequests::new(states.clone(), empty_spec.clone(), &process_id));
        let lockouts: Arc<Lockouts> = Arc::default();
        let lockout_reports =
            LockoutReports::new(states.clone(), Arc::clone(&lockouts), empty_spec.clone(), &process_id);
        let sessions = IdleSessions::new(states.clone(), empty_spec, process_id);
        Self { token_state, revocations: Arc::new(revocations), sessions, requests, lockouts, lockout_reports }
    }
}
