//! What identifies the certificates of a client (RFC 8705 §2), as fields.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Maximum number of entries of an Application.
const ENTRIES_MAX: usize = 20;

/// What identifies certificates of the client. Exactly one field.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateEntry {
    /// A DNS name of the certificate's extension subjectAltName, in any case. A wildcard of the certificate is not a
    /// match. For `tls_client_auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san_dns: Option<String>,
    /// A URI of the certificate's extension subjectAltName, such as a SPIFFE id, exactly as written. For
    /// `tls_client_auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub san_uri: Option<String>,
    /// The subject of the certificate, as text (RFC 4514), such as `CN=invoice-sync,O=Example`. The order of the
    /// attributes and the case of the values matter. For `tls_client_auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_dn: Option<String>,
    /// SHA-256 of the certificate, in hexadecimal, with or without colons. For `self_signed_tls_client_auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint_sha256: Option<String>,
}

impl CertificateEntry {
    /// The name of the field, and its value.
    #[must_use]
    pub fn field(&self) -> Option<(&'static str, &str)> {
        let Self { san_dns, san_uri, subject_dn, thumbprint_sha256 } = self;
        let fields = [
            ("sanDns", san_dns),
            ("sanUri", san_uri),
            ("subjectDn", subject_dn),
            ("thumbprintSha256", thumbprint_sha256),
        ];
        fields.into_iter().find_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// The schema of `spec.auth.certificates`.
pub(super) fn entries(generator: &mut SchemaGenerator) -> Schema {
    let mut entry = generator.subschema_for::<CertificateEntry>();
    if let Some(fields) = entry.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, field) in fields.iter_mut() {
            restrict(name, field);
        }
    }
    let number = ["sanDns", "sanUri", "subjectDn", "thumbprintSha256"].map(|name| format!("has(self.{name})"));
    let rule = json!({
        "rule": format!("[{}].exists_one(given, given)", number.join(", ")),
        "message": "must have exactly one of sanDns, sanUri, subjectDn and thumbprintSha256: use an entry for each",
    });
    entry.insert("x-kubernetes-validations".to_owned(), json!([rule]));
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": ENTRIES_MAX,
        "items": entry,
        "x-kubernetes-list-type": "atomic",
    })
}

/// The bound of a field, and the rule for its text.
fn restrict(name: &str, field: &mut Value) {
    let (length_max, pattern, message) = match name {
        "sanDns" => (
            253,
            r"^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$",
            "sanDns must be a DNS name such as invoice-sync.billing.svc, without a wildcard and without a final dot",
        ),
        "sanUri" => (
            2048,
            r"^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7E]+$",
            "sanUri must be an absolute URI such as spiffe://example.com/ns/billing/sa/invoice-sync",
        ),
        "subjectDn" => (
            1024,
            r"^[A-Za-z0-9.]+=[^\x00-\x1F]+$",
            "subjectDn must be a distinguished name (RFC 4514) such as CN=invoice-sync,O=Example",
        ),
        _ => (
            95,
            "^([0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){31})$",
            "thumbprintSha256 must be 64 hexadecimal digits, or 32 pairs of them with colons: openssl x509 -noout -fingerprint \
             -sha256 -in FILE prints it",
        ),
    };
    let description = field.get("description").and_then(Value::as_str).unwrap_or_default();
    *field = json!({
        "type": "string",
        "maxLength": length_max,
        "description": description,
        "x-kubernetes-validations": [{"rule": format!("self.matches(r'{pattern}')"), "message": message}],
    });
}
