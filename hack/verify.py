"""Verifies an access token the way an API does, with PyJWT: the token on standard input, and as arguments the issuer,
the URL of its keys and the audience that the API calls itself. Prints the header and the claims; fails if the token is
not to be trusted. SSL_CERT_FILE names the CA."""

import json
import sys

import jwt


def main(issuer: str, jwks_uri: str, audience: str) -> None:
    token = sys.stdin.read().strip()
    header = jwt.get_unverified_header(token)
    key = jwt.PyJWKClient(jwks_uri).get_signing_key_from_jwt(token)
    # Which algorithms are fine is for the API to say, never for the token.
    claims = jwt.decode(
        token,
        key,
        algorithms=["ES256", "RS256"],
        issuer=issuer,
        audience=audience,
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
    )
    if header.get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("the token is not an access token (RFC 9068)")
    print("header", json.dumps(header, indent=2))
    print("claims", json.dumps(claims, indent=2))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (jwt.PyJWTError, OSError) as error:
        sys.exit(f"refused by PyJWT {jwt.__version__}: {type(error).__name__}: {error}")
