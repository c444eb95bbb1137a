//! Schemas of the strings that several kinds use, each with the message for a rejected value.
//!
//! Each text has one rule at a time that rejects it: a CEL rule, because the API server's own message for a `pattern`
//! or a `minLength` shows only the pattern or the number.
//!
//! No rule accepts control characters. Most texts are copied to status, events, labels or annotations, and the API
//! server rejects a server-side apply with such a character: it reads the patch as YAML.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::permissions::OIDC_SCOPES;
use super::{client_id, duration, location};

mod label;
mod secret;
mod values;

pub(super) use label::label_selector;
pub(super) use secret::{added_annotations, added_labels, renamed_keys, secret_key};
pub(super) use values::describe_values;

/// Characters of an RFC 6749 §3.3 scope-token; also allowed in an audience and a role.
const VISIBLE_ASCII: &str = r"^[\x21-\x7E]+$";

/// Characters that YAML rejects or treats as a line break: control characters, line separators, the byte order mark,
/// and the last two code points of the first plane. For a character class; tab and line breaks are separate.
const CONTROL: &str = r"\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\x{2028}\x{2029}\x{FEFF}\x{FFFE}\x{FFFF}";
const TAB_AND_LINE_BREAKS: &str = r"\t\n\r";

/// A string with one rule.
fn ruled(length_max: usize, rule: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": length_max,
        "x-kubernetes-validations": [{"rule": rule, "message": message}],
    })
}

/// A string that matches this pattern, which the empty string does not match.
fn text(length_max: usize, pattern: &str, message: &str) -> Schema {
    ruled(length_max, &matches(pattern), message)
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

/// Free text on one line.
fn line(length_max: usize, repeated: char) -> Schema {
    let pattern = format!("^[^{CONTROL}{TAB_AND_LINE_BREAKS}]{repeated}$");
    text(length_max, &pattern, "must be plain text on one line: remove line breaks, tabs and control characters")
}

/// Free text.
fn lines(length_max: usize) -> Schema {
    let pattern = format!("^[^{CONTROL}]*$");
    text(length_max, &pattern, "must be plain text: remove control characters other than line breaks and tabs")
}

/// A display name.
pub(super) fn display_name(_: &mut SchemaGenerator) -> Schema {
    line(128, '*')
}

/// The purpose of an object.
pub(super) fn description(_: &mut SchemaGenerator) -> Schema {
    lines(1024)
}

/// A text whose change triggers an action.
pub(super) fn trigger(_: &mut SchemaGenerator) -> Schema {
    line(128, '+')
}

/// An e-mail address.
pub(super) fn email(_: &mut SchemaGenerator) -> Schema {
    let part = format!("[^@ {CONTROL}{TAB_AND_LINE_BREAKS}]+");
    text(254, &format!("^{part}@{part}$"), "must be an e-mail address such as team@example.com")
}

/// An absolute URL.
pub(super) fn url(_: &mut SchemaGenerator) -> Schema {
    let visible = matches(&format!("^[^ {CONTROL}{TAB_AND_LINE_BREAKS}]+$"));
    ruled(
        2048,
        &format!("{visible} && isURL(self) && url(self).getScheme() in ['http', 'https']"),
        "must be an absolute http or https URL such as https://invoice-sync.example.com",
    )
}

/// An https URL of visible ASCII without user and fragment.
pub(super) fn jwks_uri(_: &mut SchemaGenerator) -> Schema {
    let form = matches(r"^https://[A-Za-z0-9.:\[\]-]+([/?][\x21\x22\x24-\x7E]*)?$");
    ruled(
        2048,
        &format!("{form} && isURL(self)"),
        "must be an https URL without user and fragment, such as https://invoice-sync.example.com/jwks.json",
    )
}

/// The identifier of an issuer (OpenID Connect Discovery §3): an https URL without user, query and fragment.
pub(super) fn issuer(_: &mut SchemaGenerator) -> Schema {
    let form = matches(r"^https://[A-Za-z0-9.:\[\]-]+(/[\x21\x22\x24-\x3E\x40-\x7E]*)?$");
    ruled(
        2048,
        &format!("{form} && isURL(self)"),
        "must be an https URL without user, query and fragment, such as https://token.actions.example.com",
    )
}

/// The claim `sub` of a token of another issuer.
pub(super) fn subject(_: &mut SchemaGenerator) -> Schema {
    let subject = text(
        512,
        r"^[\x20-\x7E]+$",
        "must be 1-512 visible ASCII characters or spaces, such as repo:acme/invoices:ref:refs/heads/main",
    );
    with_rule(
        subject,
        "!self.contains('*')",
        "must not contain *: there are no wildcards; add an entry for each subject",
    )
}

fn list(items: &Schema, items_max: usize) -> Schema {
    json_schema!({"type": "array", "maxItems": items_max, "items": items, "x-kubernetes-list-type": "set"})
}

fn at_least_one(mut list: Schema) -> Schema {
    list.insert("minItems".to_owned(), 1.into());
    list
}

const LOCATION: &str = "must be / or segments of a-z, 0-9 and - such as /emea/billing: at most 16 segments of 1-63 characters, no trailing slash";

/// A location. The bounds are a separate rule: RE2 rejects nested repetition of this size.
pub(super) fn location(_: &mut SchemaGenerator) -> Schema {
    let pattern = matches("^/$|^(/[a-z0-9-]+)+$");
    let bounds = "self.split('/').size() <= 17 && self.split('/').all(segment, segment.size() <= 63)";
    ruled(location::LENGTH_MAX, &format!("{pattern} && {bounds}"), LOCATION)
}

/// A role name.
pub(super) fn role(_: &mut SchemaGenerator) -> Schema {
    text(128, VISIBLE_ASCII, "must be 1-128 visible ASCII characters without space, such as billing.reader")
}

/// At most 64 role names.
pub(super) fn roles(generator: &mut SchemaGenerator) -> Schema {
    list(&role(generator), 64)
}

/// An audience: a value of the claim `aud`.
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
    let names = OIDC_SCOPES.map(|scope| format!("'{scope}'")).join(", ");
    let permitted = with_rule(
        scope(generator),
        &format!("!(self in [{names}])"),
        "must not be openid, profile or email: every client has these scopes, so they would admit every client; choose another name",
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

/// The UID of an object, or nothing.
pub(super) fn uid_or_empty(_: &mut SchemaGenerator) -> Schema {
    let uid = "^([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})?$";
    text(36, uid, "must be the UID of an object, as metadata.uid shows it, or empty")
}

const NETWORK: &str = "must be a network in CIDR notation such as 10.20.0.0/16 or 2001:db8::/32";

/// A network in CIDR notation.
pub(super) fn network(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        // The longest IPv6 address with its prefix.
        "maxLength": 43,
        "x-kubernetes-validations": [
            {"rule": "isCIDR(self)", "message": NETWORK},
            {
                "rule": "!isCIDR(self) || cidr(self) == cidr(self).masked()",
                "message": "must have no bit set after the prefix: write 10.20.0.0/16 for the network, 10.20.0.5/32 for one address",
            },
        ],
    })
}

/// 1 to 32 networks.
pub(super) fn networks(generator: &mut SchemaGenerator) -> Schema {
    let network = network(generator);
    at_least_one(list(&network, 32))
}

/// A client id.
pub(super) fn client_id(_: &mut SchemaGenerator) -> Schema {
    let id = text(
        client_id::LENGTH_MAX,
        client_id::PATTERN,
        "must be 1-128 letters, digits or one of . _ ~ -; leave it out to use the object's UID",
    );
    let secret = client_id::RESERVED_PREFIXES.map(|prefix| format!("self.startsWith('{prefix}')")).join(" || ");
    with_rule(
        id,
        &format!("!({secret})"),
        "must not begin with pst_ or pat_, which are reserved for secrets and tokens: a client id is public; write the client id",
    )
}

const DURATION: &str = "must be a duration such as 15m, 90d or 1y6w: units y, w, d, h, m, s in that order, each at most once and below 1000 years";

/// A duration.
pub(super) fn duration(generator: &mut SchemaGenerator) -> Schema {
    not_zero(duration_or_zero(generator))
}

/// A duration, or zero.
pub(super) fn duration_or_zero(_: &mut SchemaGenerator) -> Schema {
    ruled(40, &format!("self != '' && {}", matches(duration::PATTERN)), DURATION)
}

/// A duration of at least a minute.
pub(super) fn duration_of_a_minute(generator: &mut SchemaGenerator) -> Schema {
    // Only zeros may precede at most 59 seconds. Only well-formed durations match.
    let shorter = duration::PATTERN.replace("[0-9]", "0").replace("(0{1,10}s)", "(0{0,8}[0-5]?[0-9]s)");
    unless(duration_or_zero(generator), &shorter, "must be at least 1m")
}

/// A duration of at least a minute, and at most 30 days.
pub(super) fn duration_of_a_minute_to_30d(generator: &mut SchemaGenerator) -> Schema {
    let (is_duration, seconds) = (duration::cel_is_duration("self"), duration::cel_seconds("self"));
    let rule = format!("!{is_duration} || {seconds} <= 30 * 86400");
    with_rule(duration_of_a_minute(generator), &rule, "must be at most 30d")
}

/// A duration, or `Never`.
pub(super) fn duration_or_never(_: &mut SchemaGenerator) -> Schema {
    let pattern = matches(&format!("^Never$|{}", duration::PATTERN));
    not_zero(ruled(40, &format!("self != '' && {pattern}"), &format!("{DURATION}; or Never")))
}

fn not_zero(schema: Schema) -> Schema {
    unless(schema, &duration::PATTERN.replace("[0-9]", "0"), "must be greater than zero")
}

/// Rejects text that matches the pattern. The empty string has a separate message.
fn unless(schema: Schema, pattern: &str, message: &str) -> Schema {
    with_rule(schema, &format!("self == '' || !{}", matches(pattern)), message)
}

/// RFC 3339 before the year 9999, as strict as the decoder: the day exists, an offset of 12:60 does not, and a second
/// has at most nine digits. `format: date-time` accepts more than that, and lists.
pub(super) fn instant_pattern() -> String {
    let year = "([0-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])";
    let leap_year = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)";
    let day = "((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))";
    let time = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    format!("^({year}-{day}|{leap_year}-02-29)T{time}$")
}

/// An instant (RFC 3339) that Postern writes.
pub(super) fn instant(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 40, "pattern": instant_pattern()})
}

/// An instant in a spec.
pub(super) fn given_instant(_: &mut SchemaGenerator) -> Schema {
    let message = "must be an instant before the year 9999 in the form of RFC 3339, such as 2027-11-22T00:00:00Z";
    text(40, &instant_pattern(), message)
}

#[cfg(test)]
mod tests;
