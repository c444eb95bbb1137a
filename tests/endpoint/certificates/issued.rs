//! CAs of clients, and the certificates that they issue.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType,
};

use super::{CertificateDer, PrivateKeyDer};

/// A CA, and the CAs between it and the trusted one.
pub(crate) struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    between: Vec<CertificateDer<'static>>,
}

/// A certificate with its chain and its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

impl TestCa {
    pub(crate) fn new() -> Self {
        let (params, key) = (ca(), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), certificate, between: Vec::new() }
    }

    /// Another CA, which this one has certified.
    pub(crate) fn intermediate(&self) -> Self {
        let (params, key) = (ca(), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let between = vec![certificate.der().clone()];
        Self { issuer: Issuer::new(params, key), certificate, between }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate with these names, which are URIs if they contain a colon. `subject`: an organization and a common
    /// name, or only a common name. `change` changes it before it is signed.
    pub(crate) fn issue(
        &self,
        names: &[&str],
        subject: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let (mut params, key) = (client(names, subject), KeyPair::generate().unwrap());
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Issued { chain: [vec![leaf.der().clone()], self.between.clone()].concat(), key }
    }
}

impl Issued {
    pub(crate) fn self_signed(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let leaf = client(names, &["self"]).self_signed(&key).unwrap();
        Self { chain: vec![leaf.der().clone()], key }
    }

    /// Another certificate with the same key.
    pub(crate) fn renewed(&self) -> Self {
        let key = KeyPair::try_from(self.key.serialize_der()).unwrap();
        let leaf = client(&["renewed"], &["self"]).self_signed(&key).unwrap();
        Self { chain: vec![leaf.der().clone()], key }
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// The chain as text.
    pub(crate) fn pem(&self) -> String {
        self.chain.iter().map(|der| pem::encode(&pem::Pem::new("CERTIFICATE", der.to_vec()))).collect()
    }
}

fn ca() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// As cert-manager makes it for `usages: [client auth]`.
fn client(names: &[&str], subject: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.distinguished_name = DistinguishedName::new();
    for (type_, text) in [DnType::CommonName, DnType::OrganizationName].into_iter().zip(subject.iter().rev()).rev() {
        params.distinguished_name.push(type_, *text);
    }
    params.subject_alt_names = names
        .iter()
        .map(|name| {
            let name = (*name).try_into().unwrap();
            if name_is_uri(&name) { SanType::URI(name) } else { SanType::DnsName(name) }
        })
        .collect();
    params
}

fn name_is_uri(name: &rcgen::string::Ia5String) -> bool {
    name.as_str().contains(':')
}
