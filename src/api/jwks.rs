//! Public keys of a client (RFC 7517), as fields.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// Maximum number of keys of an Application.
const KEYS_MAX: usize = 20;

/// Public keys of the client (RFC 7517 §5).
#[derive(Clone, Debug, Default, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
pub struct JwkSet {
    /// The keys. 1 to 20. Of keys that share a `kid`, the first 4 are tried.
    #[schemars(schema_with = "keys")]
    pub keys: Vec<Jwk>,
}

/// A public key (RFC 7517 §4): EC with P-256, RSA with 2048 to 4096 bits, or OKP with Ed25519.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct Jwk {
    /// Type of the key: EC, RSA or OKP.
    pub kty: String,
    /// Id of the key, which the header of an assertion names. Up to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Purpose of the key: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub use_: Option<String>,
    /// Algorithm of the key: ES256 (EC), RS256 or PS256 (RSA), EdDSA (OKP). Default: every algorithm of the type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// EC and OKP: the curve, P-256 or Ed25519.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// EC and OKP: the x coordinate, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// EC: the y coordinate, in base64url. Quote the name `"y"` in YAML: kubectl reads it as `true` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// RSA: the modulus, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA: the exponent, in base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// A certificate with this key, in base64, for `self_signed_tls_client_auth`. Certificates after the first are ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "first")]
    pub x5c: Vec<String>,
}

impl Jwk {
    /// The key as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// The members that a private or symmetric key has. They are in the schema, because the API server would drop an unknown
/// member before a rule could refuse the key.
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

fn keys(generator: &mut SchemaGenerator) -> Schema {
    let mut key = generator.subschema_for::<Jwk>();
    if let Some(members) = key.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, member) in members.iter_mut().filter(|(name, _)| *name != "x5c") {
            restrict(name, member);
        }
        if let Some(chain) = members.get_mut("x5c") {
            restrict_chain(chain);
        }
        for name in PRIVATE {
            let text = text(1024, BASE64URL, NOT_BASE64URL, "Refused: the member of a private or symmetric key.");
            members.insert(name.to_owned(), text);
        }
        for (name, member) in ignored() {
            members.insert(name.to_owned(), member);
        }
    }
    key.insert("x-kubernetes-validations".to_owned(), rules().into());
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": KEYS_MAX,
        "items": key,
        "x-kubernetes-list-type": "atomic",
    })
}

const BASE64URL: &str = "^[A-Za-z0-9_-]*$";
const NOT_BASE64URL: &str = "must be base64url without padding (RFC 7515 §2)";

/// The bound of a member, and the rule for its text.
fn restrict(name: &str, member: &mut Value) {
    let (length_max, pattern, message) = match name {
        "kty" => (16, "^(EC|RSA|OKP)$", "kty must be EC, RSA or OKP: other keys cannot verify assertions"),
        "crv" => (16, "^(P-256|Ed25519)$", "crv must be P-256 (EC) or Ed25519 (OKP)"),
        "alg" => (16, "^(ES256|RS256|PS256|EdDSA)$", ALGORITHM),
        "use" => (16, "^sig$", "use must be sig: this key is for signatures"),
        "kid" => (128, r"^[\x21-\x7E]+$", "kid must be 1-128 visible ASCII characters without spaces"),
        // A modulus of 4096 bits.
        "n" => (683, BASE64URL, NOT_BASE64URL),
        _ => (64, BASE64URL, NOT_BASE64URL),
    };
    let description = member.get("description").and_then(Value::as_str).unwrap_or_default();
    *member = text(length_max, pattern, message, description);
}

fn text(length_max: u32, pattern: &str, message: &str, description: &str) -> Value {
    json!({
        "type": "string",
        "maxLength": length_max,
        "description": description,
        "x-kubernetes-validations": [{"rule": format!("self.matches(r'{pattern}')"), "message": message}],
    })
}

/// Keeps the first certificate: each replica stores the keys, and nothing needs the others.
fn first<'de, D: Deserializer<'de>>(chain: D) -> Result<Vec<String>, D::Error> {
    Vec::deserialize(chain).map(|chain: Vec<String>| chain.into_iter().take(1).collect())
}

/// The bounds of `x5c`.
fn restrict_chain(chain: &mut Value) {
    let description = chain.get("description").and_then(Value::as_str).unwrap_or_default();
    let certificate = text(4096, "^[A-Za-z0-9+/=]*$", "must be base64 (RFC 7517 §4.7)", "A certificate.");
    *chain = json!({"type": "array", "maxItems": 8, "items": certificate, "description": description});
}

/// Members of published keys that nothing here needs. Without them in the schema, strict clients would refuse such keys.
fn ignored() -> Vec<(&'static str, Value)> {
    const DESCRIPTION: &str = "Ignored. Published keys may have it.";
    let list = |items| json!({"type": "array", "maxItems": 8, "items": items, "description": DESCRIPTION});
    let operation = text(32, "^[A-Za-z]*$", "must be a registered name (RFC 7517 §4.3)", "An operation.");
    let thumbprint = || text(64, BASE64URL, NOT_BASE64URL, DESCRIPTION);
    vec![("key_ops", list(operation)), ("x5t", thumbprint()), ("x5t#S256", thumbprint())]
}

const ALGORITHM: &str = "alg must be ES256 (EC), RS256 or PS256 (RSA), or EdDSA (OKP): correct it, or leave it out";

/// What the members must be together. A member that its own rule refuses is left to that rule.
fn rules() -> Vec<Value> {
    let rule = |rule: &str, message: &str| json!({"rule": rule, "message": message});
    let has_private = PRIVATE.map(|name| format!("has(self.{name})")).join(" || ");
    vec![
        rule(
            &format!("!({has_private})"),
            "is a private or symmetric key: give only its public members (kty, kid, alg, and crv, x, y or n, e), and replace \
             the key, because it has been shown",
        ),
        rule(
            "self.kty != 'EC' || (has(self.crv) && self.crv != 'Ed25519' && has(self.x) && has(self.y))",
            "a key of the type EC must have crv: P-256, x and y",
        ),
        rule(
            "self.kty != 'OKP' || (has(self.crv) && self.crv != 'P-256' && has(self.x))",
            "a key of the type OKP must have crv: Ed25519 and x",
        ),
        rule(
            "self.kty != 'RSA' || (has(self.n) && has(self.e) && size(self.n) >= 342)",
            "a key of the type RSA must have e, and n with at least 2048 bits",
        ),
        rule(
            "!has(self.alg) || !(self.kty in ['EC', 'RSA', 'OKP']) || !(self.alg in ['ES256', 'RS256', 'PS256', 'EdDSA']) || \
             [self.kty, self.alg] in [['EC', 'ES256'], ['RSA', 'RS256'], ['RSA', 'PS256'], ['OKP', 'EdDSA']]",
            ALGORITHM,
        ),
    ]
}
