"""requests-oauth2client: what introspection says of a token before and after its client revokes it. Argument `basic` or
`post`."""

import json
import sys

from requests_oauth2client import ClientSecretBasic, ClientSecretPost, OAuth2Client

import credential

method = ClientSecretBasic if sys.argv[1] == "basic" else ClientSecretPost
client = OAuth2Client(
    token_endpoint=credential.TOKEN_URI,
    introspection_endpoint=f"{credential.REPLICA}/oauth2/introspect",
    revocation_endpoint=f"{credential.REPLICA}/oauth2/revoke",
    auth=method(credential.CLIENT_ID, credential.CLIENT_SECRET),
)
token = client.client_credentials(scope="invoices:read", resource=credential.AUDIENCE)
before = client.introspect_token(token)
revoked = client.revoke_access_token(token)
print(json.dumps({"before": before, "revoked": revoked, "after": client.introspect_token(token)}))
