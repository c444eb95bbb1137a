//! The source network of a caller.

use std::net::{IpAddr, Ipv6Addr};

/// The unit that counts as one caller: an IPv4 address, or the /64 of an IPv6 address. A /64 is the smallest network
/// that a subscriber gets, and so the longest prefix that identifies one. An IPv4 /24 would count all pods of a node
/// as one caller.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_caller() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(of(one) == of(other), same, "{one} {other}");
        }
    }
}
