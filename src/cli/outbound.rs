//! Flags of requests to hosts that tenants name.

use std::path::PathBuf;

use clap::Args;
use ipnet::IpNet;

use crate::outbound::{HostRule, Policy};

/// Which hosts Postern may request for tenants. Every process of an installation gets the same values.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Outbound requests")]
pub struct OutboundArgs {
    /// Host that Applications, and the metadata of their issuers, may name in a URL, such as keys.example.com, *.example.com for all hosts below a domain, or
    /// keys.example.com:8443 for another port than 443. The flag can be repeated. Absent: Postern requests no URL of an
    /// Application.
    #[arg(long, env = "POSTERN_OUTBOUND_HOSTS", hide_env_values = true, value_name = "HOST", value_delimiter = ',')]
    pub outbound_hosts: Vec<HostRule>,

    /// Network of addresses that these hosts may have although they are not public. The flag can be repeated. Absent:
    /// Postern connects only to public addresses.
    #[arg(
        long,
        env = "POSTERN_OUTBOUND_PRIVATE_NETWORKS",
        hide_env_values = true,
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub outbound_private_networks: Vec<IpNet>,

    /// PEM file with CAs that Postern trusts for these hosts, in addition to the public CAs. Postern reads the file again
    /// when it changes. A file that does not exist means no further CA.
    #[arg(long, env = "POSTERN_OUTBOUND_CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub outbound_ca_file: Option<PathBuf>,
}

impl OutboundArgs {
    /// What the operator allows.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy { hosts: self.outbound_hosts.clone(), private_networks: self.outbound_private_networks.clone() }
    }
}
