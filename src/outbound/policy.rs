//! What the operator allows: the hosts that tenants may name, and the networks that are not public.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::{effective, is_public};
use super::error::RequestError;

/// Port of https.
const HTTPS: u16 = 443;

/// What the operator allows. The default allows nothing.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// The hosts that may be requested.
    pub hosts: Vec<HostRule>,
    /// Networks that may be dialled although they are not public.
    pub private_networks: Vec<IpNet>,
}

/// A host of the allow-list, such as `keys.example.com`, `*.example.com` or `keys.example.com:8443`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostRule {
    host: HostPattern,
    port: u16,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum HostPattern {
    Exact(Host),
    /// One or more labels below this domain, which is stored with a leading dot.
    Below(String),
}

/// A text is not a [`HostRule`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "must be a host name such as keys.example.com, a domain such as *.example.com, or an IP address, each with a port if it is \
     not 443, such as keys.example.com:8443"
)]
pub struct MalformedHost;

impl FromStr for HostRule {
    type Err = MalformedHost;

    fn from_str(text: &str) -> Result<Self, MalformedHost> {
        let (pattern, below) = text.strip_prefix("*.").map_or((text, false), |domain| (domain, true));
        let is_bare = !pattern.contains(['/', '?', '#', '@', '\\', '*', '%']) && !pattern.contains(char::is_whitespace);
        let url = format!("https://{pattern}").parse::<Url>().ok().filter(|_| is_bare).ok_or(MalformedHost)?;
        let port = url.port_or_known_default().unwrap_or(HTTPS);
        let host = match (url.host().ok_or(MalformedHost)?.to_owned(), below) {
            (Host::Domain(domain), _) if domain.ends_with('.') => return Err(MalformedHost),
            (Host::Domain(domain), true) => HostPattern::Below(format!(".{domain}")),
            (_, true) => return Err(MalformedHost),
            (host, false) => HostPattern::Exact(host),
        };
        Ok(Self { host, port })
    }
}

impl HostRule {
    fn allows(&self, host: &Host<&str>, port: u16) -> bool {
        let has_host = match (&self.host, host) {
            (HostPattern::Exact(Host::Domain(allowed)), Host::Domain(domain)) => allowed == domain,
            (HostPattern::Exact(Host::Ipv4(allowed)), Host::Ipv4(address)) => allowed == address,
            (HostPattern::Exact(Host::Ipv6(allowed)), Host::Ipv6(address)) => allowed == address,
            // The rest before the dot is a label, and no label is empty.
            (HostPattern::Below(suffix), Host::Domain(domain)) => domain
                .strip_suffix(suffix.as_str())
                .is_some_and(|labels| labels.split('.').all(|label| !label.is_empty())),
            _ => false,
        };
        has_host && self.port == port
    }
}

/// A URL that may be requested.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Policy {
    /// The target of a URL. The parser of the URL has normalised its host: `0x7f.1`, `2130706433` and `0177.0.0.1` are the
    /// address 127.0.0.1, which the list must contain as any other host.
    ///
    /// # Errors
    /// [`RequestError::Url`], [`RequestError::HostNotAllowed`]
    pub(super) fn target(&self, url: &str) -> Result<Target, RequestError> {
        let url: Url = url.parse().map_err(|_| RequestError::Url)?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if url.scheme() != "https" || has_user || url.fragment().is_some() {
            return Err(RequestError::Url);
        }
        let (host, port) = (url.host().ok_or(RequestError::Url)?, url.port_or_known_default().unwrap_or(HTTPS));
        if !self.hosts.iter().any(|rule| rule.allows(&host, port)) {
            return Err(RequestError::HostNotAllowed);
        }
        Ok(Target { host: host.to_owned(), port, url })
    }

    /// The addresses that may be dialled, in their order.
    pub(super) fn allowed(&self, addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        addresses.into_iter().filter(|address| self.allows_address(address.ip())).collect()
    }

    fn allows_address(&self, address: IpAddr) -> bool {
        let effective = effective(address);
        is_public(effective) || self.private_networks.iter().any(|network| network.contains(&effective))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(hosts: &[&str]) -> Policy {
        Policy { hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(), private_networks: Vec::new() }
    }

    #[test]
    fn a_url_is_allowed_only_if_its_host_and_port_are_on_the_list() {
        let policy =
            policy(&["keys.example.com", "*.apps.example.com", "other.example.com:8443", "192.0.2.1", "[2001:db8::1]"]);
        let is_allowed = |url: &str| policy.target(url).is_ok();
        for url in [
            "https://keys.example.com/jwks.json",
            "https://KEYS.example.com:443/",
            "https://a.apps.example.com/",
            "https://a.b.apps.example.com/",
            "https://other.example.com:8443/",
            "https://192.0.2.1/",
            "https://[2001:db8::1]/",
        ] {
            assert!(is_allowed(url), "{url}");
        }
        for url in [
            "https://example.com/",
            "https://a.keys.example.com/",
            "https://keys.example.com.evil.example/",
            "https://keys.example.com./",
            "https://keys.example.com:8443/",
            "https://other.example.com/",
            "https://apps.example.com/",
            "https://.apps.example.com/",
            "https://a..apps.example.com/",
            "https://evilapps.example.com/",
            "https://192.0.2.2/",
            "https://[2001:db8::2]/",
        ] {
            assert_eq!(policy.target(url).err(), Some(RequestError::HostNotAllowed), "{url}");
        }
        assert!(Policy::default().target("https://keys.example.com/").is_err(), "the default allows nothing");
    }

    #[test]
    fn a_url_with_another_scheme_a_user_or_a_fragment_is_refused() {
        for url in [
            "http://keys.example.com/",
            "ftp://keys.example.com/",
            "file:///etc/passwd",
            "https://user@keys.example.com/",
            "https://user:password@keys.example.com/",
            "https://:password@keys.example.com/",
            "https://keys.example.com/#fragment",
            "https://",
            "keys.example.com",
        ] {
            assert_eq!(policy(&["keys.example.com"]).target(url).err(), Some(RequestError::Url), "{url}");
        }
    }

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://[::ffff:127.0.0.1]/",
        ] {
            let refused = policy(&["*.1", "*.0.1", "*.example.com"].map(|_| "keys.example.com"));
            assert_eq!(refused.target(url).err(), Some(RequestError::HostNotAllowed), "{url}");
            let listed = policy(&["127.0.0.1", "[::ffff:127.0.0.1]"]);
            let ip = match listed.target(url).unwrap().host {
                Host::Ipv4(address) => IpAddr::from(address),
                Host::Ipv6(address) => address.into(),
                Host::Domain(domain) => panic!("{domain}"),
            };
            assert!(!listed.allows_address(ip), "{url}: a listed literal is still not public");
        }
    }

    #[test]
    fn a_private_address_is_allowed_only_in_a_network_of_the_operator_in_every_form() {
        let policy = Policy { private_networks: vec!["10.1.0.0/16".parse().unwrap()], ..Policy::default() };
        let allowed = |text: &str| policy.allows_address(text.parse().unwrap());
        assert!(["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "8.8.8.8"].into_iter().all(allowed));
        assert!(!["10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "fd00::1", "::"].into_iter().any(allowed));
    }

    #[test]
    fn a_rule_that_is_no_host_is_refused() {
        for rule in [
            "",
            "*",
            "*.",
            "*.1",
            "*.0.0.1",
            "a.*.com",
            "https://a",
            "a/b",
            "u@a",
            "a:port",
            "a:99999",
            "a.",
            "a b",
            "%61",
        ] {
            assert_eq!(rule.parse::<HostRule>(), Err(MalformedHost), "{rule}");
        }
        assert_eq!("Keys.Example.com:443".parse::<HostRule>(), "keys.example.com".parse());
    }
}
