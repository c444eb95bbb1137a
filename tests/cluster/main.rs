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

mod apache;
mod author_rights;
mod authority;
mod bearers;
mod ca_rotation;
mod chart;
mod chosen_client_ids;
mod crash;
mod created_by;
mod delivery;
mod demo;
mod ended_tokens;
mod ending;
mod examples;
mod explain;
mod fairness;
mod first_start;
mod floods;
mod foreign;
mod harness;
mod imports;
mod keys;
mod kstatus;
mod lending;
mod life;
mod locations;
mod nginx;
mod outage;
mod owners;
mod ownership;
mod planted;
mod propagation;
mod references;
mod refused_status;
mod release;
mod resource_servers;
mod restore;
mod rights;
mod rollout;
mod rotation;
mod sessions;
mod settings;
mod sizes;
mod split;
mod spring;
mod stolen_token;
mod tenancy;
mod terminating;
mod tls;
mod trusted_names;
mod undecodable;
mod unknown;
mod usage;
mod userinfo;
mod validation;
mod whole_run;
mod write_limits;
