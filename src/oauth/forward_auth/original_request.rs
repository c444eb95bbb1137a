//! The request that a proxy asks about, as far as a DPoP proof names it: method and URL.

use crate::oauth::dpop::Target;

/// The headers in which proxies describe the original request, in lower case.
const METHOD: &str = "x-forwarded-method";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const URI: &str = "x-forwarded-uri";

/// What is known of the original request.
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginalRequest<'a> {
    method: Option<&'a str>,
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    /// The path, with or without a query.
    uri: Option<&'a str>,
}

impl<'a> OriginalRequest<'a> {
    /// Of a request to a dedicated URL: all four headers describe the original request (Traefik sends them, and nginx if
    /// it is configured).
    #[must_use]
    pub fn of_headers(headers: impl Fn(&str) -> Vec<&'a [u8]>) -> Self {
        let [method, scheme, host, uri] = [METHOD, PROTO, HOST, URI].map(|name| single(&headers(name)));
        Self { method, scheme, host, uri }
    }

    /// Of a request with the method, the host and the path of the original one (Envoy). One header has its scheme.
    #[must_use]
    pub fn of_copy(
        headers: impl Fn(&str) -> Vec<&'a [u8]>,
        method: &'a str,
        host: Option<&'a str>,
        path: &'a str,
    ) -> Self {
        Self { method: Some(method), scheme: single(&headers(PROTO)), host, uri: Some(path) }
    }

    /// What a proof must be for; `None`: not all of it is known.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        let scheme = self.scheme.filter(|scheme| ["http", "https"].contains(scheme))?;
        let host = self.host.filter(|host| !host.contains(['/', '?', '#', '@', ',', '\\']))?;
        let uri = self.uri.filter(|uri| uri.starts_with('/'))?;
        Some(Target::new(self.method?, format!("{scheme}://{host}{uri}")))
    }
}

/// The value of a header that occurs once and is not empty. A proxy that appends to a header of the client, instead of
/// replacing it, is not understood.
fn single<'a>(values: &[&'a [u8]]) -> Option<&'a str> {
    let [value] = values else { return None };
    std::str::from_utf8(value).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(headers: &[(&str, &'static str)]) -> Option<Target> {
        let all = |name: &str| {
            let matching = headers.iter().filter(|(known, _)| *known == name);
            matching.map(|(_, value)| value.as_bytes()).collect()
        };
        OriginalRequest::of_headers(all).target()
    }

    const FULL: [(&str, &str); 4] =
        [(METHOD, "PUT"), (PROTO, "https"), (HOST, "api.example.com:8443"), (URI, "/invoices/7?page=2")];

    #[test]
    fn x4_four_headers_describe_the_original_request() {
        let expected = Target::new("PUT", "https://api.example.com:8443/invoices/7?page=2".to_owned());
        assert_eq!(target(&FULL), Some(expected));
        for missing in 0..FULL.len() {
            let mut headers = FULL.to_vec();
            let header = headers.remove(missing);
            assert_eq!(target(&headers), None, "{header:?} is missing");
            headers.extend([header, header]);
            assert_eq!(target(&headers), None, "{header:?} is repeated");
        }
        for wrong in [
            (METHOD, ""),
            (PROTO, "https,http"),
            (PROTO, "ftp"),
            (HOST, "api.example.com, other.example.com"),
            (HOST, "user@api.example.com"),
            (HOST, "api.example.com/other"),
            (URI, "https://api.example.com/invoices"),
            (URI, ""),
        ] {
            let headers = FULL.map(|header| if header.0 == wrong.0 { wrong } else { header });
            assert_eq!(target(&headers), None, "{wrong:?}");
        }
    }

    #[test]
    fn x4_a_copy_of_the_request_needs_only_its_scheme() {
        let of_proto = |value: &'static str| {
            move |name: &str| if name == PROTO { vec![value.as_bytes()] } else { vec![&b"forged"[..]] }
        };
        let copy = OriginalRequest::of_copy(of_proto("https"), "GET", Some("api.example.com"), "/invoices");
        assert_eq!(copy.target(), Some(Target::new("GET", "https://api.example.com/invoices".to_owned())));
        let without_host = OriginalRequest::of_copy(of_proto("https"), "GET", None, "/invoices");
        assert_eq!(without_host.target(), None);
    }
}
