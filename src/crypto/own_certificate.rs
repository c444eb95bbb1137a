//! The certificate that Postern makes for its endpoint, and the private CAs that clients trust.
//!
//! When the CA changes, the old one signs the new one (a cross-certificate), and the endpoint serves that beside its
//! certificate. So clients accept it whether they trust the old CA, the new one, or both: the order in which they and
//! the replicas notice the change does not matter.

use jiff::{SignedDuration, Timestamp};

use super::ca::{Ca, CertificateError, Leaf};
use super::certificate::Certificate;

/// A leaf is valid for a year. It is renewed in its last third, so that a whole quarter of outage loses nothing.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(120 * 24);
/// Maximum number of earlier CAs: each of them adds a certificate to every full handshake.
const PREVIOUS_MAX: usize = 4;

/// All that is kept of it.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    /// The CA that signs.
    pub ca: Ca,
    /// The CAs before it that clients may still trust, the newest first.
    pub previous: Vec<Certificate>,
    /// What the endpoint serves.
    pub leaf: Leaf,
    /// For each of `previous` the certificate of its successor.
    pub cross: Vec<Certificate>,
}

impl OwnCertificate {
    /// A new CA, and a leaf for these DNS names and IP addresses.
    ///
    /// # Errors
    /// [`CertificateError`], if a name is not ASCII or the instant is out of range.
    pub fn generate(names: &[String], now: Timestamp) -> Result<Self, CertificateError> {
        let ca = Ca::generate(now)?;
        let leaf = ca.sign_leaf(names, now)?;
        Ok(Self { ca, previous: Vec::new(), leaf, cross: Vec::new() })
    }

    /// The CAs that clients are to trust, in PEM. The one that signs is first, for clients that read only one.
    #[must_use]
    pub fn trusted_pem(&self) -> String {
        [self.ca.certificate()].into_iter().chain(&self.previous).map(Certificate::to_pem).collect()
    }

    /// What the endpoint serves, in PEM: the leaf, and what leads from it to earlier CAs.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        [&self.leaf.certificate].into_iter().chain(&self.cross).map(Certificate::to_pem).collect()
    }

    /// What it has to become: earlier CAs that have ended are removed, with the cross-certificates of those that are
    /// not in `previous` any more; a CA that is due, or is to be replaced (`rotate`), gets a successor; and the leaf is
    /// renewed. `None` if nothing changes.
    ///
    /// # Errors
    /// [`CertificateError`], if a name is not ASCII, the instant is out of range or the CA's key is not its own.
    pub fn next(&self, names: &[String], rotate: bool, now: Timestamp) -> Result<Option<Self>, CertificateError> {
        let mut next = self.clone();
        next.previous.retain(|ca| ca.not_after() > now);
        if rotate || self.ca.is_due(now) {
            next.replace_ca(now)?;
        }
        next.cross.retain(|cross| next.previous.iter().any(|ca| cross.names_issuer(ca)));
        if !next.has_good_leaf(names, now) {
            next.leaf = next.ca.sign_leaf(names, now)?;
        }
        Ok((next.trusted_pem() != self.trusted_pem() || next.chain_pem() != self.chain_pem()).then_some(next))
    }

    fn replace_ca(&mut self, now: Timestamp) -> Result<(), CertificateError> {
        let new = Ca::generate(now)?;
        if self.ca.certificate().not_after() > now {
            self.cross.insert(0, self.ca.cross_sign(&new, now)?);
            self.previous.insert(0, self.ca.certificate().clone());
            self.previous.truncate(PREVIOUS_MAX);
        }
        self.ca = new;
        Ok(())
    }

    fn has_good_leaf(&self, names: &[String], now: Timestamp) -> bool {
        let leaf = &self.leaf.certificate;
        leaf.names_issuer(self.ca.certificate())
            && leaf.covers(names)
            && leaf.not_after().duration_since(now) > RENEW_BEFORE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn now() -> Timestamp {
        "2026-11-22T02:00:00Z".parse().unwrap()
    }

    fn names() -> Vec<String> {
        vec!["localhost".to_owned()]
    }

    fn made() -> OwnCertificate {
        OwnCertificate::generate(&names(), now()).unwrap()
    }

    fn next(own: &OwnCertificate, rotate: bool, now: Timestamp) -> OwnCertificate {
        own.next(&names(), rotate, now).unwrap().expect("a change")
    }

    #[test]
    fn a_leaf_is_renewed_in_time_or_for_another_name_under_the_same_ca() {
        let own = made();
        assert!(own.next(&names(), false, now() + DAY * 200).unwrap().is_none());
        let renewed = next(&own, false, now() + DAY * 250);
        assert_eq!(renewed.trusted_pem(), own.trusted_pem());
        assert_ne!(renewed.chain_pem(), own.chain_pem());
        let more = [names(), vec!["more.example.com".to_owned()]].concat();
        let renamed = own.next(&more, false, now()).unwrap().unwrap();
        assert!(renamed.leaf.certificate.covers(&more));
        assert_eq!(renamed.trusted_pem(), own.trusted_pem());
    }

    #[test]
    fn a_rotation_publishes_both_cas_and_serves_the_cross_certificate_of_the_old_one() {
        let own = made();
        let rotated = next(&own, true, now());
        assert_eq!(rotated.trusted_pem(), format!("{}{}", rotated.ca.certificate().to_pem(), own.trusted_pem()));
        assert!(rotated.leaf.certificate.names_issuer(rotated.ca.certificate()));
        assert!(matches!(&rotated.cross[..], [cross] if cross.names_issuer(own.ca.certificate())));
        assert!(rotated.next(&names(), false, now()).unwrap().is_none(), "it is done");
        let renewed = next(&rotated, false, now() + DAY * 250);
        assert_eq!(renewed.cross, rotated.cross);
    }

    #[test]
    fn a_ca_is_replaced_at_half_of_its_lifetime_and_the_old_one_is_trusted_until_it_expires() {
        let own = made();
        let half = now() + DAY * (5 * 365 + 1);
        let rotated = next(&own, false, half);
        assert_eq!(rotated.previous, [own.ca.certificate().clone()]);
        let end = own.ca.certificate().not_after();
        let kept = next(&rotated, false, end - DAY);
        assert_eq!((kept.previous.len(), kept.cross.len()), (1, 1));
        let ended = next(&kept, false, end);
        assert_eq!((ended.previous.len(), ended.cross.len()), (0, 0));
    }

    #[test]
    fn an_expired_ca_gets_a_successor_without_cross_certificates() {
        let own = made();
        let late = next(&own, false, own.ca.certificate().not_after() + DAY);
        assert!(late.previous.is_empty() && late.cross.is_empty());
    }

    #[test]
    fn removing_an_earlier_ca_removes_its_cross_certificates() {
        let rotated = next(&next(&made(), true, now()), true, now());
        assert_eq!(rotated.cross.len(), 2);
        let mut edited = rotated.clone();
        edited.previous.pop();
        assert_eq!(next(&edited, false, now()).cross, rotated.cross[..1]);
        edited.previous.clear();
        assert!(next(&edited, false, now()).cross.is_empty());
    }

    #[test]
    fn the_number_of_earlier_cas_is_bounded() {
        let mut own = made();
        for _ in 0..6 {
            own = next(&own, true, now());
        }
        assert_eq!((own.previous.len(), own.cross.len()), (PREVIOUS_MAX, PREVIOUS_MAX));
    }
}
