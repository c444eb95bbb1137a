//! What the replicas publish to each other and to the controller. A revocation or a request is published before it is
//! answered; uses are published in batches.

use std::sync::Arc;

use jiff::Timestamp;

use super::ledger::Ledger;
use super::requests::Requests;
use super::revocations::Revocations;
use super::sessions::Sessions;
use super::states::States;
use crate::crypto::random;

/// The received state, and what this replica publishes.
pub(super) struct Shared {
    pub(super) ledger: Arc<Ledger>,
    pub(super) revocations: Arc<Revocations<States>>,
    pub(super) sessions: Sessions<States>,
    pub(super) requests: Arc<Requests<States>>,
}

impl Shared {
    pub(super) fn new(states: &States) -> Self {
        let ledger: Arc<Ledger> = Arc::default();
        // Part of the names of this process's objects: it does not overwrite objects of an earlier process with the
        // same replica name.
        let incarnation = format!("{:08x}", u32::from_be_bytes(random::bytes()));
        let blank = states.blank(Timestamp::MIN);
        let revocations = Revocations::new(states.clone(), Arc::clone(&ledger), blank.clone(), incarnation.clone());
        let requests = Arc::new(Requests::new(states.clone(), blank.clone(), &incarnation));
        let sessions = Sessions::new(states.clone(), blank, incarnation);
        Self { ledger, revocations: Arc::new(revocations), sessions, requests }
    }
}
