//! Schemas of the strings that occur in several kinds, each with the message that a person reads when it is refused.
//!
//! The pattern makes the rule readable by tools; the CEL rule beside it carries the sentence, because the API server's
//! own message for a pattern shows only the pattern.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::authority::ABOUT_ITSELF;
use super::{duration, location};

mod label;
mod secret;

pub(super) use label::label_selector;
pub(super) use secret::{added_annotations, added_labels, renamed_keys, secret_key};

/// Characters of an RFC 6749 §3.3 scope-token; also what an audience and a role may consist of.
const VISIBLE_ASCII: &str = r"^[\x21-\x7E]+$";

fn text(length_max: usize, pattern: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": length_max,
        "pattern": pattern,
        "x-kubernetes-validations": [{"rule": matches(pattern), "message": message}],
    })
}

fn matches(pattern: &str) -> String {
    format!("self.matches(r'{pattern}')")
}

fn with_rule(mut schema: Schema, rule: &str, message: &str) -> Schema {
    if let Some(rules) = schema.get_mut("x-kubernetes-validations").and_then(|rules| rules.as_array_mut()) {
        rules.push(serde_json::json!({"rule": rule, "message": message}));
    }
    schema
}

fn list(items: &Schema, items_max: usize) -> Schema {
    json_schema!({"type": "array", "maxItems": items_max, "items": items, "x-kubernetes-list-type": "set"})
}

fn at_least_one(mut list: Schema) -> Schema {
    list.insert("minItems".to_owned(), 1.into());
    list
}

const LOCATION: &str = "must be / or segments of a-z, 0-9 and - such as /emea/billing: at most 16 segments of 1-63 characters, no trailing slash";

/// A location. The bounds stand in a rule of their own: RE2 refuses nested repetition as large as theirs.
pub(super) fn location(_: &mut SchemaGenerator) -> Schema {
    with_rule(
        text(location::LENGTH_MAX, "^/$|^(/[a-z0-9-]+)+$", LOCATION),
        "self.split('/').size() <= 17 && self.split('/').all(segment, segment.size() <= 63)",
        LOCATION,
    )
}

/// A role name.
pub(super) fn role(_: &mut SchemaGenerator) -> Schema {
    text(128, VISIBLE_ASCII, "must be 1-128 visible ASCII characters without space, such as billing.reader")
}

/// At most 64 role names.
pub(super) fn roles(generator: &mut SchemaGenerator) -> Schema {
    list(&role(generator), 64)
}

/// An audience: what lands in `aud`.
pub(super) fn audience(_: &mut SchemaGenerator) -> Schema {
    text(
        256,
        VISIBLE_ASCII,
        "must be 1-256 visible ASCII characters without space, such as https://billing.example.com",
    )
}

/// At most 64 audiences.
pub(super) fn audiences(generator: &mut SchemaGenerator) -> Schema {
    list(&audience(generator), 64)
}

/// A scope-token (RFC 6749 §3.3).
pub(super) fn scope(_: &mut SchemaGenerator) -> Schema {
    text(
        128,
        r"^[\x21\x23-\x5B\x5D-\x7E]+$",
        "must be an RFC 6749 scope-token: 1-128 visible ASCII characters without space, double quote or backslash",
    )
}

/// At most 64 scope-tokens; may be empty.
pub(super) fn scopes(generator: &mut SchemaGenerator) -> Schema {
    list(&scope(generator), 64)
}

/// 1 to 64 scope-tokens.
pub(super) fn some_scopes(generator: &mut SchemaGenerator) -> Schema {
    at_least_one(scopes(generator))
}

/// At most 64 names of AccessGroups.
pub(super) fn group_names(generator: &mut SchemaGenerator) -> Schema {
    list(&object_name(generator), 64)
}

/// At most 64 names of namespaces.
pub(super) fn namespace_names(_: &mut SchemaGenerator) -> Schema {
    let name = text(
        63,
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be the name of a namespace: a-z, 0-9 and -, at most 63 characters",
    );
    list(&name, 64)
}

/// 1 to 64 scope-tokens that a group may permit.
pub(super) fn permitted_scopes(generator: &mut SchemaGenerator) -> Schema {
    let names = ABOUT_ITSELF.map(|scope| format!("'{scope}'")).join(", ");
    let permitted = with_rule(
        scope(generator),
        &format!("!(self in [{names}])"),
        "must not be openid, profile or email: every client holds these, so they would let everybody in; choose another name",
    );
    at_least_one(list(&permitted, 64))
}

/// The name of a Kubernetes object (DNS subdomain).
pub(super) fn object_name(_: &mut SchemaGenerator) -> Schema {
    text(
        253,
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "must be the name of an object: a-z, 0-9, - and ., at most 253 characters",
    )
}

const NETWORK: &str = "must be a network in CIDR notation such as 10.20.0.0/16 or 2001:db8::/32";

/// 1 to 32 networks.
pub(super) fn networks(_: &mut SchemaGenerator) -> Schema {
    let network = json_schema!({
        "type": "string",
        "minLength": 1,
        // The longest IPv6 address with its prefix.
        "maxLength": 43,
        "x-kubernetes-validations": [
            {"rule": "isCIDR(self)", "message": NETWORK},
            {
                "rule": "!isCIDR(self) || cidr(self) == cidr(self).masked()",
                "message": "must have no bit set after the prefix: write 10.20.0.0/16 for the network, 10.20.0.5/32 for one address",
            },
        ],
    });
    at_least_one(list(&network, 32))
}

/// A client id: a UUID in lower case.
pub(super) fn client_id(_: &mut SchemaGenerator) -> Schema {
    text(
        36,
        "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "must be a UUID in lower case such as 3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e; leave it out to use the object's UID",
    )
}

const DURATION: &str = "must be a duration such as 15m, 90d or 1y6w: units y, w, d, h, m, s in that order, each at most once and below 1000 years";
const NOT_ZERO: &str = "self.matches('[1-9]')";

/// A duration.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    with_rule(text(40, duration::PATTERN, DURATION), NOT_ZERO, "must be longer than zero")
}

/// A duration, or zero.
pub(super) fn duration_or_zero(_: &mut SchemaGenerator) -> Schema {
    text(40, duration::PATTERN, DURATION)
}

/// A duration of at least a minute.
pub(super) fn duration_of_a_minute(generator: &mut SchemaGenerator) -> Schema {
    let schema = duration(generator);
    // A duration is shorter than a minute when nothing but zeros stands before at most 59 seconds.
    with_rule(schema, "!self.matches('^(0+[ywdhm])*0*[0-5]?[0-9]s$')", "must be at least 1m")
}

/// A duration, or `Never`.
pub(super) fn duration_or_never(_: &mut SchemaGenerator) -> Schema {
    let pattern = format!("^Never$|{}", duration::PATTERN);
    let message = format!("{DURATION}; or Never");
    with_rule(text(40, &pattern, &message), "self == 'Never' || self.matches('[1-9]')", "must be longer than zero")
}

/// An instant (RFC 3339).
pub(super) fn instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "minLength": 1, "maxLength": 40})
}

/// An instant that somebody gives. The rule also has the API server read it as strictly as we do: the format alone lets
/// pass what is none, such as an offset of 99 hours. Of a second we read nine digits; RFC 3339 and the API server know no
/// limit, so the pattern sets one.
pub(super) fn given_instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "date-time",
        "minLength": 1,
        "maxLength": 40,
        "pattern": r"^[^.,]*(\.[0-9]{1,9}[^0-9].*)?$",
        "x-kubernetes-validations": [{
            "rule": "self < timestamp('9999-01-01T00:00:00Z')",
            "message": "must be an instant before the year 9999, such as 2027-11-22T00:00:00Z",
        }],
    })
}
