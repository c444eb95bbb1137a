//! An access token in the Authorization header (RFC 6750, RFC 9449), as anybody on the network can send it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use postern::oauth::authorization_header::{TokenScheme, auth_params, single_authorization};
use postern::oauth::client_auth::present;
use postern::oauth::form::Form;

/// The scheme of a header with a token, and the token.
fn read(header: &[u8]) -> Option<(TokenScheme, &[u8])> {
    let (scheme, header) = single_authorization([header]).unwrap();
    TokenScheme::parse(scheme).map(|known| (known, auth_params(scheme, header)))
}

fuzz_target!(|header: &[u8]| {
    assert!(single_authorization([header, header]).is_err());
    let Some((scheme, token)) = read(header) else { return };
    // No header has a token for one reader, and a secret for another.
    assert!(present([header], &Form::parse(b"").unwrap()).is_err());
    assert_eq!(scheme == TokenScheme::Bearer, header.to_ascii_lowercase().starts_with(b"bearer"));
    assert_eq!(token, token.trim_ascii());
    assert!(header.trim_ascii_end().ends_with(token));
    for name in ["Bearer", "bearer", "DPoP", "dPoP"] {
        let written = [name.as_bytes(), b" ", token].concat();
        let other = if name.eq_ignore_ascii_case("bearer") { TokenScheme::Bearer } else { TokenScheme::Dpop };
        assert_eq!(read(&written), Some((other, token)));
    }
});
