//! Distinguished names (RFC 5280 §4.1.2.4), compared with the text form of RFC 4514.

use std::fmt;
use std::str::FromStr;

use x509_cert::der::{Decode as _, Tag, Tagged as _};
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};

/// A name. Two are equal if they have the same attributes in the same order. The ASN.1 type of a text does not matter.
/// Its case matters.
#[derive(Clone, Debug)]
pub struct DistinguishedName {
    /// In the order of the certificate.
    attributes: Vec<Vec<Attribute>>,
    text: Box<str>,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Attribute {
    oid: String,
    /// `None`: a text in ASCII or UTF-8.
    tag: Option<Tag>,
    value: Vec<u8>,
}

/// A text or an encoding is not a distinguished name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is not a distinguished name (RFC 4514), such as CN=invoice-sync,O=Example without spaces around commas")]
pub struct NotAName;

impl DistinguishedName {
    /// Reads the name of a certificate.
    ///
    /// # Errors
    /// [`NotAName`]
    pub fn from_der(der: &[u8]) -> Result<Self, NotAName> {
        RdnSequence::from_der(der).map(|name| Self::of(&name)).map_err(|_| NotAName)
    }

    fn of(name: &RdnSequence) -> Self {
        Self { attributes: name.iter().map(attributes).collect(), text: name.to_string().into() }
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.attributes == other.attributes
    }
}

impl Eq for DistinguishedName {}

/// As RFC 4514 writes it.
impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for DistinguishedName {
    type Err = NotAName;

    /// Reads a text such as `CN=invoice-sync,O=Example`. The last attribute of the certificate is the first of the text
    /// (RFC 4514 §2.1).
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let name = RdnSequence::from_str(text).map_err(|_| NotAName)?;
        // An empty value is more likely a mistake than a name.
        let has_values = name.iter().flat_map(RelativeDistinguishedName::iter).all(|it| !it.value.value().is_empty());
        if has_values { Ok(Self::of(&name)) } else { Err(NotAName) }
    }
}

/// The attributes of one part of a name, in a fixed order: they are a set.
fn attributes(part: &RelativeDistinguishedName) -> Vec<Attribute> {
    let mut attributes: Vec<_> = part
        .iter()
        .map(|attribute| {
            let tag = attribute.value.tag();
            let is_text = matches!(tag, Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
            Attribute {
                oid: attribute.oid.to_string(),
                tag: (!is_text).then_some(tag),
                value: attribute.value.value().to_vec(),
            }
        })
        .collect();
    attributes.sort();
    attributes
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair};
    use x509_parser::prelude::FromDer as _;

    use super::*;

    /// The subject of a certificate with these attributes.
    fn subject(attributes: &[(DnType, DnValue)]) -> DistinguishedName {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (type_, value) in attributes {
            params.distinguished_name.push(type_.clone(), value.clone());
        }
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, read) = x509_parser::certificate::X509Certificate::from_der(made.der()).unwrap();
        DistinguishedName::from_der(read.subject().as_raw()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.to_owned())
    }

    fn parsed(text: &str) -> DistinguishedName {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a11_a_name_equals_its_text_whatever_the_type_of_its_strings() {
        let printable = DnValue::PrintableString("Example".try_into().unwrap());
        for organization in [utf8("Example"), printable] {
            let name = subject(&[(DnType::OrganizationName, organization), (DnType::CommonName, utf8("invoice-sync"))]);
            assert_eq!(name, parsed("CN=invoice-sync,O=Example"));
            assert_eq!(name, parsed("cn=invoice-sync,2.5.4.10=Example"));
        }
        let comma = subject(&[(DnType::OrganizationName, utf8("Example, Inc."))]);
        assert_eq!(comma, parsed(r"O=Example\, Inc."));
        assert_eq!(comma, parsed(r"O=Example\2C Inc."));
    }

    #[test]
    fn a11_another_order_case_or_number_of_attributes_is_another_name() {
        let name = subject(&[(DnType::OrganizationName, utf8("Example")), (DnType::CommonName, utf8("invoice-sync"))]);
        for other in [
            "O=Example,CN=invoice-sync",
            "CN=Invoice-Sync,O=Example",
            "CN=invoice-sync",
            "CN=invoice-sync,O=Example,C=DE",
            "CN=invoice-sync+O=Example",
            "OU=invoice-sync,O=Example",
            "CN=invoice-sync,O=Example ",
            r"CN=invoice-sync\,O=Example",
        ] {
            assert_ne!(name, parsed(other), "{other}");
        }
    }

    #[test]
    fn a_text_that_is_no_name_is_refused() {
        for text in ["", "invoice-sync", "CN", "CN=", "CN=a, O=b", "purple=a", "CN=a,", "CN=\\", "O=#zz"] {
            assert_eq!(text.parse::<DistinguishedName>(), Err(NotAName), "{text}");
        }
    }
}
