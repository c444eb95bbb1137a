"""requests-oauth2client: what introspection says of a token before and after its client revokes it. Argument `basic`,
`post` or `key`."""

import json
import sys

from jwskate import Jwk
from requests_oauth2client import ClientSecretBasic, ClientSecretPost, OAuth2Client, PrivateKeyJwt

import credential


def authentication():
    if sys.argv[1] == "key":
        key = Jwk.from_pem(credential.PRIVATE_KEY, alg="ES256", kid=credential.KEY_ID)
        return PrivateKeyJwt(credential.CLIENT_ID, private_jwk=key, alg="ES256", aud=credential.ISSUER_URI)
    method = ClientSecretBasic if sys.argv[1] == "basic" else ClientSecretPost
    return method(credential.CLIENT_ID, credential.CLIENT_SECRET)


client = OAuth2Client(
    token_endpoint=credential.TOKEN_URI,
    introspection_endpoint=f"{credential.REPLICA}/oauth2/introspect",
    revocation_endpoint=f"{credential.REPLICA}/oauth2/revoke",
    auth=authentication(),
)
token = client.client_credentials(scope="invoices:read", resource=credential.AUDIENCE)
before = client.introspect_token(token)
revoked = client.revoke_access_token(token)
print(json.dumps({"before": before, "revoked": revoked, "after": client.introspect_token(token)}))
