use serde_json::{Value, json};

use super::shared::{check, check_changes, many};
use crate::harness::{TestNamespace, application};

const ID: &str = "3f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e";
const CLIENT_ID: &str = "spec.clientId: … must be 1-128 letters, digits or one of . _ ~ -";
const SECRET: &str = "spec.clientId: … must not begin with pst_ or pat_";
const OPAQUE: &str = "spec.token.idleTimeout: Invalid value: … idleTimeout needs format: Opaque";
const IMMUTABLE: &str = "spec.clientId: … clientId is immutable";
const DURATION: &str = "spec.token.lifetime: … must be a duration such as 15m, 90d or 1y6w";
const URL: &str = "spec.url: … must be an absolute http or https URL";

/// A coordinate of the right length.
const X: &str = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY";

/// An EC key, changed.
fn key(changes: &Value) -> Value {
    let mut key = json!({"kty": "EC", "crv": "P-256", "kid": "one", "x": X, "y": X});
    key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    key
}

fn keys(keys: &Value) -> Value {
    json!({"auth": {"methods": ["private_key_jwt"], "jwks": {"keys": keys}}})
}

const JWKS_URI: &str = "spec.auth.jwksUri: … must be an https URL without user and fragment";

const NETWORK: &str = "spec.auth.networks[0]: … must be a network in CIDR notation such as 10.20.0.0/16";

fn networks(networks: &Value) -> Value {
    json!({"auth": {"networks": networks}})
}

fn many_networks(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("10.{number}.0.0/16")).collect()
}

fn jwks_uri(url: &str) -> Value {
    json!({"auth": {"methods": ["private_key_jwt"], "jwksUri": url}})
}

fn tried(spec: Value) -> Value {
    application("tried", "sync", spec)
}

#[tokio::test]
async fn an_application_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("a name too long", json!({"displayName": "x".repeat(129)}), "spec.displayName: Too long"),
        ("a description too long", json!({"description": "x".repeat(1025)}), "spec.description: Too long"),
        ("a URL without scheme", json!({"url": "invoice-sync.example.com"}), URL),
        ("a URL of another scheme", json!({"url": "ftp://invoice-sync.example.com"}), URL),
        ("a URL too long", json!({"url": format!("https://x/{}", "a".repeat(2048))}), "spec.url: Too long"),
        ("no service user", json!({"serviceUserRef": {}}), "spec.serviceUserRef.name: Required value"),
        (
            "a service user that cannot be",
            json!({"serviceUserRef": {"name": "A b"}}),
            "spec.serviceUserRef.name: … must be the name of an object",
        ),
        (
            "a service user elsewhere",
            json!({"serviceUserRef": {"name": "a", "namespace": "b"}}),
            r#"unknown field "spec.serviceUserRef.namespace""#,
        ),
        ("65 roles", json!({"restrictTo": {"roles": many(65)}}), "spec.restrictTo.roles: Too many: 65"),
        ("65 audiences", json!({"restrictTo": {"audiences": many(65)}}), "spec.restrictTo.audiences: Too many: 65"),
        ("65 scopes", json!({"restrictTo": {"scopes": many(65)}}), "spec.restrictTo.scopes: Too many: 65"),
        (
            "one scope twice",
            json!({"restrictTo": {"scopes": ["a", "a"]}}),
            "spec.restrictTo.scopes[1]: Duplicate value",
        ),
        (
            "a role with a space",
            json!({"restrictTo": {"roles": ["a b"]}}),
            "spec.restrictTo.roles[0]: … must be 1-128 visible",
        ),
        (
            "an audience with a space",
            json!({"restrictTo": {"audiences": ["a b"]}}),
            "spec.restrictTo.audiences[0]: … must be 1-256 visible",
        ),
        (
            "a scope with a space",
            json!({"restrictTo": {"scopes": ["a b"]}}),
            "spec.restrictTo.scopes[0]: … must be an RFC 6749 scope-token",
        ),
        ("no method", json!({"auth": {"methods": []}}), "spec.auth.methods: Invalid value"),
        (
            "an unknown method",
            json!({"auth": {"methods": ["none"]}}),
            r#"spec.auth.methods[0]: Unsupported value: "none""#,
        ),
        (
            "one method twice",
            json!({"auth": {"methods": ["client_secret_basic", "client_secret_basic"]}}),
            "spec.auth.methods[1]: Duplicate value",
        ),
        (
            "an unknown format",
            json!({"token": {"format": "PASETO"}}),
            r#"spec.token.format: Unsupported value: "PASETO""#,
        ),
        ("an idle time with a JWT", json!({"token": {"format": "JWT", "idleTimeout": "30m"}}), OPAQUE),
        ("an idle time with the default format", json!({"token": {"idleTimeout": "30m"}}), OPAQUE),
        ("an idle time that is none", idle("soon"), "spec.token.idleTimeout: … must be a duration"),
        ("no idle time at all", idle("0m"), "spec.token.idleTimeout: … must be at least 1m"),
        (
            "a default scope with a space",
            json!({"token": {"defaultScopes": ["a b"]}}),
            "spec.token.defaultScopes[0]: … must be an RFC 6749 scope-token",
        ),
        ("an idle time below a minute", idle("59s"), "spec.token.idleTimeout: … must be at least 1m"),
        (
            "an unknown algorithm",
            json!({"token": {"signingAlgorithm": "none"}}),
            r#"spec.token.signingAlgorithm: Unsupported value: "none""#,
        ),
        (
            "an unknown policy",
            json!({"token": {"scopePolicy": "Widen"}}),
            r#"spec.token.scopePolicy: Unsupported value: "Widen""#,
        ),
        ("no default scope", json!({"token": {"defaultScopes": []}}), "spec.token.defaultScopes: Invalid value"),
        (
            "a default audience with a space",
            json!({"token": {"defaultAudience": "a b"}}),
            "spec.token.defaultAudience: … must be 1-256 visible",
        ),
        ("a lifetime without unit", lifetime("15"), DURATION),
        ("a negative lifetime", lifetime("-1m"), DURATION),
        ("a lifetime with units out of order", lifetime("1s1m"), DURATION),
        ("a lifetime with one unit twice", lifetime("1m1m"), DURATION),
        ("a fraction", lifetime("1.5m"), DURATION),
        ("an overflowing lifetime", lifetime("1000y"), DURATION),
        ("an empty lifetime", lifetime(""), "spec.token.lifetime: Invalid value"),
        ("a lifetime of nothing", lifetime("0m"), "spec.token.lifetime: … must be at least 1m"),
        ("a lifetime of 59 seconds", lifetime("59s"), "spec.token.lifetime: … must be at least 1m"),
        ("59 seconds in disguise", lifetime("0h0m059s"), "spec.token.lifetime: … must be at least 1m"),
        ("Never", lifetime("Never"), DURATION),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn an_application_is_refused_for_each_rule_that_its_networks_break() {
    let cases = [
        ("no network", networks(&json!([])), "spec.auth.networks: … should have at least 1 items"),
        ("33 networks", networks(&json!(many_networks(33))), "spec.auth.networks: Too many: 33: must have at most 32"),
        ("a network twice", networks(&json!(["10.0.0.0/8", "10.0.0.0/8"])), "spec.auth.networks[1]: Duplicate value"),
        ("an address", networks(&json!(["10.20.0.5"])), NETWORK),
        ("a name", networks(&json!(["localhost"])), NETWORK),
        (
            "an address with a prefix",
            networks(&json!(["10.20.0.5/16"])),
            "spec.auth.networks[0]: … must have no bit set after",
        ),
        ("the most networks", networks(&json!(many_networks(32))), ""),
        ("networks of both kinds", networks(&json!(["10.20.0.0/16", "2001:db8::/32"])), ""),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn an_application_is_refused_for_each_rule_that_its_keys_break() {
    let cases = [
        (
            "keys twice",
            json!({"auth": {"jwks": {"keys": [key(&json!({}))]}, "jwksUri": "https://keys.example.com/"}}),
            "spec.auth.jwksUri: Invalid value: … jwks and jwksUri exclude each other",
        ),
        ("a URL of http", jwks_uri("http://keys.example.com/jwks.json"), JWKS_URI),
        ("a URL with a user", jwks_uri("https://user@keys.example.com/jwks.json"), JWKS_URI),
        ("a URL with a password", jwks_uri("https://user:password@keys.example.com/"), JWKS_URI),
        ("a URL with a fragment", jwks_uri("https://keys.example.com/#keys"), JWKS_URI),
        ("a URL with a space", jwks_uri("https://keys.example.com/a b"), JWKS_URI),
        ("a URL with a backslash in the host", jwks_uri("https://keys.example.com\\@other/"), JWKS_URI),
        ("a URL without host", jwks_uri("https:///jwks.json"), JWKS_URI),
        (
            "a long URL of keys",
            jwks_uri(&format!("https://keys.example.com/{}", "a".repeat(2048))),
            "spec.auth.jwksUri: Too long",
        ),
        ("only the key pairs of its ClientSecrets", json!({"auth": {"methods": ["private_key_jwt"]}}), ""),
        ("no key", keys(&json!([])), "spec.auth.jwks.keys: Invalid value"),
        ("21 keys", keys(&json!(vec![key(&json!({})); 21])), "spec.auth.jwks.keys: Too many: 21"),
        (
            "a private key",
            keys(&json!([key(&json!({"d": X}))])),
            "spec.auth.jwks.keys[0]: … is a private or symmetric key",
        ),
        (
            "a symmetric key",
            keys(&json!([{"kty": "oct", "k": X}])),
            "spec.auth.jwks.keys[0]: … is a private or symmetric key",
        ),
        (
            "a key of another type",
            keys(&json!([{"kty": "X"}])),
            "spec.auth.jwks.keys[0].kty: … kty must be EC, RSA or OKP",
        ),
        (
            "another curve",
            keys(&json!([key(&json!({"crv": "P-384"}))])),
            "spec.auth.jwks.keys[0].crv: … crv must be P-256 (EC) or Ed25519 (OKP)",
        ),
        (
            "half a point",
            keys(&json!([{"kty": "EC", "crv": "P-256", "x": X}])),
            "spec.auth.jwks.keys[0]: … must have crv: P-256, x and y",
        ),
        (
            "a short RSA key",
            keys(&json!([{"kty": "RSA", "n": X, "e": "AQAB"}])),
            "spec.auth.jwks.keys[0]: … n with at least 2048 bits",
        ),
        (
            "an algorithm of another type",
            keys(&json!([key(&json!({"alg": "RS256"}))])),
            "spec.auth.jwks.keys[0]: … alg must be ES256",
        ),
        (
            "a key for encryption",
            keys(&json!([key(&json!({"use": "enc"}))])),
            "spec.auth.jwks.keys[0].use: … use must be sig",
        ),
    ];
    check(tried, &cases).await;
}

/// What identifies certificates of a client.
fn certificates(entries: &Value) -> Value {
    json!({"auth": {"certificates": entries}})
}

#[tokio::test]
async fn an_application_is_refused_for_each_rule_that_its_certificates_break() {
    let one = |field: &str, value: &str| certificates(&json!([{field: value}]));
    let methods = |method: &str, entry: &Value| json!({"auth": {"methods": [method], "certificates": [entry]}});
    let (dns, thumbprint) = (json!({"sanDns": "a.example.com"}), json!({"thumbprintSha256": "9f".repeat(32)}));
    let cases = [
        (
            "tls_client_auth without certificates",
            json!({"auth": {"methods": ["tls_client_auth"]}}),
            "spec.auth.certificates: Invalid value: … set certificates with sanDns, sanUri or subjectDn",
        ),
        (
            "tls_client_auth with a thumbprint only",
            methods("tls_client_auth", &thumbprint),
            "spec.auth.certificates: Invalid value: … set certificates with sanDns, sanUri or subjectDn",
        ),
        (
            "self_signed_tls_client_auth with a name only",
            methods("self_signed_tls_client_auth", &dns),
            "spec.auth.certificates: Invalid value: … set certificates with thumbprintSha256, or jwks with x5c",
        ),
        ("no entry", certificates(&json!([])), "spec.auth.certificates: Invalid value"),
        ("21 entries", certificates(&json!(vec![dns.clone(); 21])), "spec.auth.certificates: Too many: 21"),
        ("an empty entry", certificates(&json!([{}])), "spec.auth.certificates[0]: … must have exactly one of sanDns"),
        (
            "two fields",
            certificates(&json!([{"sanDns": "a.example.com", "sanUri": "spiffe://example.com/a"}])),
            "spec.auth.certificates[0]: … must have exactly one of sanDns",
        ),
        ("a wildcard", one("sanDns", "*.example.com"), "spec.auth.certificates[0].sanDns: … without a wildcard"),
        ("a final dot", one("sanDns", "a.example.com."), "spec.auth.certificates[0].sanDns: … without a final dot"),
        ("a relative URI", one("sanUri", "/ns/a"), "spec.auth.certificates[0].sanUri: … must be an absolute URI"),
        (
            "a text that is no distinguished name",
            one("subjectDn", "invoice-sync"),
            "spec.auth.certificates[0].subjectDn: … must be a distinguished name",
        ),
        (
            "a SHA-1 thumbprint",
            one("thumbprintSha256", &"9f".repeat(20)),
            "spec.auth.certificates[0].thumbprintSha256: … must be 64 hexadecimal digits",
        ),
        (
            "a thumbprint with colons in wrong places",
            one("thumbprintSha256", &format!("9:{}", "f9".repeat(31))),
            "spec.auth.certificates[0].thumbprintSha256: … must be 64 hexadecimal digits",
        ),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn an_application_is_refused_for_each_rule_that_its_service_accounts_break() {
    let accounts = |list: Value| json!({"auth": {"methods": ["kubernetes_service_account"], "serviceAccounts": list}});
    let many: Vec<Value> = (0..21).map(|number| json!({"name": format!("sync-{number}")})).collect();
    let cases = [
        (
            "a method without accounts",
            json!({"auth": {"methods": ["kubernetes_service_account"]}}),
            "spec.auth.serviceAccounts: Invalid value: … set serviceAccounts",
        ),
        ("no account", accounts(json!([])), "spec.auth.serviceAccounts: Invalid value"),
        ("21 accounts", accounts(json!(many)), "spec.auth.serviceAccounts: Too many: 21"),
        (
            "one account twice",
            accounts(json!([{"name": "sync"}, {"name": "sync", "uid": ""}])),
            "spec.auth.serviceAccounts[1]: Duplicate value",
        ),
        (
            "a name that cannot be",
            accounts(json!([{"name": "A b"}])),
            "spec.auth.serviceAccounts[0].name: … must be the name of an object",
        ),
        (
            "an account elsewhere",
            accounts(json!([{"name": "sync", "namespace": "payments"}])),
            r#"unknown field "spec.auth.serviceAccounts[0].namespace""#,
        ),
        (
            "a UID that cannot be",
            accounts(json!([{"name": "sync", "uid": "sync"}])),
            "spec.auth.serviceAccounts[0].uid: … must be the UID of an object",
        ),
        (
            "the account of every pod",
            accounts(json!([{"name": "default"}])),
            "spec.auth.serviceAccounts[0].name: … create a ServiceAccount for the client, or set allowDefault: true",
        ),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn an_application_is_refused_for_each_rule_that_its_issuers_break() {
    let issuers = |list: Value| json!({"auth": {"methods": ["federated_jwt"], "issuers": list}});
    let entry = |issuer: &str, subject: &str| json!({"issuer": issuer, "subject": subject});
    let of = |issuer: &str| issuers(json!([entry(issuer, "a")]));
    let about = |subject: &str| issuers(json!([entry("https://a.example.com", subject)]));
    let many: Vec<Value> = (0..21).map(|number| entry("https://a.example.com", &number.to_string())).collect();
    let url = "spec.auth.issuers[0].issuer: … must be an https URL without user, query and fragment";
    let subject = "spec.auth.issuers[0].subject: … must be 1-512 visible ASCII characters or spaces";
    let cases = [
        ("20 subjects of an issuer with a path", issuers(json!(many[..20])), ""),
        ("a path with a slash at its end", of("https://a.example.com/realms/b/"), ""),
        ("a subject with spaces and signs", about("CN=a b,O=\"c\" project_path:d/e:ref_type:branch"), ""),
        (
            "a method without issuers",
            json!({"auth": {"methods": ["federated_jwt"]}}),
            "spec.auth.issuers: Invalid value: … set issuers",
        ),
        ("no entry", issuers(json!([])), "spec.auth.issuers: Invalid value"),
        ("21 entries", issuers(json!(many)), "spec.auth.issuers: Too many: 21"),
        (
            "a subject twice",
            issuers(json!([entry("https://a.example.com", "a"), entry("https://a.example.com", "a")])),
            "spec.auth.issuers[1]: Duplicate value",
        ),
        ("plain http", of("http://a.example.com"), url),
        ("a query", of("https://a.example.com/?b"), url),
        ("a query without a path", of("https://a.example.com?b"), url),
        ("a fragment", of("https://a.example.com/#b"), url),
        ("a user", of("https://a@b.example.com"), url),
        ("no host", of("https:///a"), url),
        ("a space", of("https://a.example.com/a b"), url),
        ("no subject", about(""), subject),
        ("a subject with an umlaut", about("büro"), subject),
        ("a subject with a line break", about("a\nb"), subject),
        ("a subject that is too long", about(&"a".repeat(513)), "spec.auth.issuers[0].subject: Too long"),
        (
            "a wildcard",
            about("repo:acme/*"),
            "spec.auth.issuers[0].subject: … must not contain *: there are no wildcards; add an entry for each subject",
        ),
        (
            "an audience with a space",
            issuers(json!([{"issuer": "https://a.example.com", "subject": "a", "audience": "a b"}])),
            "spec.auth.issuers[0].audience: … must be 1-256 visible",
        ),
        (
            "an unknown field",
            issuers(json!([{"issuer": "https://a.example.com", "subject": "a", "jwksUri": "b"}])),
            r#"unknown field "spec.auth.issuers[0].jwksUri""#,
        ),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn a_client_id_is_refused_for_each_rule_it_breaks() {
    let cases = [
        ("an empty client id", json!({"clientId": ""}), CLIENT_ID),
        ("a client id with a space", json!({"clientId": "invoice sync"}), CLIENT_ID),
        ("a client id with a colon", json!({"clientId": "invoice:sync"}), CLIENT_ID),
        ("a client id that selects more", json!({"clientId": "x,metadata.name=y"}), CLIENT_ID),
        ("a client id that needs an encoding", json!({"clientId": "invoice%2Dsync"}), CLIENT_ID),
        ("a client id with an umlaut", json!({"clientId": "büro"}), CLIENT_ID),
        ("a client id with a line break", json!({"clientId": "sync\n"}), CLIENT_ID),
        ("a client id too long", json!({"clientId": "x".repeat(129)}), "spec.clientId: Too long"),
        ("a secret as client id", json!({"clientId": "pst_k7Qd"}), SECRET),
        ("an opaque token as client id", json!({"clientId": "pat_k7Qd"}), SECRET),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn an_application_may_go_to_each_limit() {
    let cases = [
        ("a client id", json!({"clientId": ID}), ""),
        ("a client id in capitals", json!({"clientId": ID.to_uppercase()}), ""),
        ("a client id of another system", json!({"clientId": "billing_Sync.prod~1"}), ""),
        ("a client id of two dots", json!({"clientId": ".."}), ""),
        ("the longest client id", json!({"clientId": "x".repeat(128)}), ""),
        (
            "64 of each restriction",
            json!({"restrictTo": {"roles": many(64), "audiences": many(64), "scopes": many(64)}}),
            "",
        ),
        ("a restriction to nothing", json!({"restrictTo": {"roles": [], "audiences": [], "scopes": []}}), ""),
        ("both methods", json!({"auth": {"methods": ["client_secret_post", "client_secret_basic"]}}), ""),
        ("a lifetime of a minute", lifetime("1m"), ""),
        ("60 seconds", lifetime("60s"), ""),
        ("an idle time of a minute", json!({"token": {"format": "Opaque", "idleTimeout": "1m"}}), ""),
        ("all units", lifetime("1y2w3d4h5m6s"), ""),
        ("centuries, which the operator caps", lifetime("999y"), ""),
        (
            "the other algorithm",
            json!({"token": {"format": "JWT", "signingAlgorithm": "RS256", "scopePolicy": "Narrow"}}),
            "",
        ),
        ("a service user of 253 characters", json!({"serviceUserRef": {"name": format!("{}.x", "s".repeat(251))}}), ""),
        ("a URL", json!({"url": "http://localhost:8080/x?y#z"}), ""),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn token_requests_have_a_number_within_the_bounds() {
    let requests = |per_minute: Value| json!({"token": {"requestsPerMinute": per_minute}});
    let cases = [
        (
            "none at all",
            requests(json!(0)),
            "spec.token.requestsPerMinute: Invalid value: 0: … greater than or equal to 1",
        ),
        ("fewer", requests(json!(-1)), "spec.token.requestsPerMinute: Invalid value: -1: … greater than or equal to 1"),
        (
            "more",
            requests(json!(100_001)),
            "spec.token.requestsPerMinute: Invalid value: 100001: … less than or equal to 100000",
        ),
        ("a text", requests(json!("600")), "spec.token.requestsPerMinute: Invalid value: … must be of type integer"),
        ("the fewest", requests(json!(1)), ""),
        ("the most", requests(json!(100_000)), ""),
    ];
    check(tried, &cases).await;
}

#[tokio::test]
async fn a_client_id_can_neither_be_added_nor_changed_nor_removed() {
    let tenant = TestNamespace::without_operator("client-id").await;
    let other = "7f0c3a52-9d55-4d0e-8b6a-0f1f2a6f5c1e";
    let changes = [
        ("another", json!({"clientId": other}), IMMUTABLE),
        ("none", json!({"clientId": null}), IMMUTABLE),
        ("the same", json!({"clientId": ID, "displayName": "renamed"}), ""),
    ];
    check_changes(&tenant, &tenant.namespace, &application("with", "sync", json!({"clientId": ID})), &changes).await;
    let added = [("one later", json!({"clientId": other}), IMMUTABLE)];
    check_changes(&tenant, &tenant.namespace, &application("without", "sync", json!({})), &added).await;
}

fn idle(text: &str) -> Value {
    json!({"token": {"format": "Opaque", "idleTimeout": text}})
}

fn lifetime(text: &str) -> Value {
    json!({"token": {"lifetime": text}})
}
