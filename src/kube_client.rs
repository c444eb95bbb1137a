//! The connection to the API server, configured as for kubectl.

use std::net::IpAddr;
use std::time::Duration;

use kube::config::InferConfigError;
use kube::{Client, Config};

mod access;
#[cfg(test)]
pub(crate) mod fake_api_server;
mod paging;

pub use access::{Access, AccessError};

/// Timeout of a connection attempt. kube's default of 30 s would delay a watch for as long, and a user may wait.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The configuration from the kubeconfig, or from the pod's ServiceAccount.
///
/// # Errors
/// Neither of them can be used.
pub async fn infer() -> Result<Config, InferConfigError> {
    Config::infer().await.map(adjusted)
}

fn adjusted(mut config: Config) -> Config {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    if config.cluster_url.host().is_some_and(is_of_this_machine) {
        // kube uses HTTPS_PROXY for every host; a proxy cannot reach this API server.
        config.proxy_url = None;
    }
    config
}

/// A client that takes lists in pages of a bounded size.
///
/// # Errors
/// The configuration cannot be used.
pub fn client(config: Config) -> kube::Result<Client> {
    Client::try_from(config).map(paging::by_size)
}

fn is_of_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_reached_without_a_proxy() {
        for host in ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST"] {
            assert!(is_of_this_machine(host), "{host}");
        }
        for host in ["10.0.0.1", "[2001:db8::1]", "localhost.example.com", "127.0.0.1.example.com", ""] {
            assert!(!is_of_this_machine(host), "{host}");
        }
    }
}
