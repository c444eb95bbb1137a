"""Authlib: argument `basic`, `post` or `key`."""

import sys

from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey

import credential


def session():
    if sys.argv[1] != "key":
        method = f"client_secret_{sys.argv[1]}"
        return OAuth2Session(
            credential.CLIENT_ID, credential.CLIENT_SECRET, scope="invoices:read", token_endpoint_auth_method=method
        )
    key = ECKey.import_key(credential.PRIVATE_KEY)
    session = OAuth2Session(
        credential.CLIENT_ID, key, scope="invoices:read", token_endpoint_auth_method="private_key_jwt"
    )
    # The audience of the assertion is the issuer.
    header = {"kid": credential.KEY_ID}
    session.register_client_auth_method(PrivateKeyJWT(credential.ISSUER_URI, headers=header, alg="ES256"))
    return session


answer = session().fetch_token(
    credential.TOKEN_URI, grant_type="client_credentials", resource=credential.AUDIENCE
)
credential.report(answer["access_token"])
