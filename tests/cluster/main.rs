//! Postern on a real Kubernetes API server: the chart installed by Helm, two replicas as processes of the `postern`
//! binary, each with a token of the chart's own ServiceAccount.
//!
//! `make test` runs them; `hack/with-controlplane cargo test --test cluster` runs these alone. One control plane serves
//! the whole run and each test has its namespace; tests that break the control plane have their own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is the report"
)]
#![expect(unreachable_pub, reason = "one binary: nothing here is seen from outside")]

mod admission_bind;
mod admission_names;
mod apache;
mod author_rights;
mod authority;
mod ca_rotation;
mod certificates;
mod chart;
mod chosen_client_ids;
mod crash;
mod crash_bootstrap;
mod created_by;
mod delivery;
mod demo;
mod dpop;
mod end_to_end;
mod examples;
mod expiry;
mod explain;
mod fairness;
mod floods;
mod harness;
mod imports;
mod install_keys;
mod interop_clients;
mod invariants;
mod key_pairs;
mod key_recovery;
mod kstatus;
mod last_used;
mod leaks;
mod limits;
mod locations;
mod lockout;
mod nginx;
mod operator_limits;
mod outage;
mod owners;
mod ownership;
mod planted;
mod private_key_jwt;
mod propagation;
mod rate_limits;
mod rbac;
mod references;
mod refused_status;
mod release;
mod resource_servers;
mod restore;
mod revocation;
mod rollout;
mod rotation;
mod service_account_tokens;
mod sessions;
mod signing_keys;
mod sizes;
mod split;
mod spring;
mod stolen_token;
mod tenant_isolation;
mod terminating;
mod tls;
mod token_invalidation;
mod token_invalidation_consumers;
mod undecodable_objects;
mod unknown_client_reads;
mod userinfo;
mod validation;
mod write_limits;
