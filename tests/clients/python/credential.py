"""What the clients of this folder share: the credential as a pod has it, and the check that an API makes.

The environment contains the keys of the delivered Secret in the spelling of `envFrom`, or PRIVATE_KEY and KEY_ID, REPLICA, the base URL of the replica
to ask, and, under the names that the libraries know, the file of the CA. The result, the claims of the token, goes to
stdout as one JSON object.
"""

import json
import os

import jwt

CLIENT_ID = os.environ["CLIENT_ID"]
CLIENT_SECRET = os.environ.get("CLIENT_SECRET")
PRIVATE_KEY = os.environ.get("PRIVATE_KEY")
KEY_ID = os.environ.get("KEY_ID")
ISSUER_URI = os.environ["ISSUER_URI"]
REPLICA = os.environ["REPLICA"]
AUDIENCE = os.environ["AUDIENCE"]
TOKEN_URI = os.environ["TOKEN_URI"].replace(os.environ["ISSUER_URI"], REPLICA)
JWKS_URI = os.environ["JWKS_URI"].replace(os.environ["ISSUER_URI"], REPLICA)


def verified(token):
    """The claims of an access token, with the published keys and PyJWT."""
    keys = jwt.PyJWKClient(JWKS_URI)
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(
        token,
        key,
        algorithms=["ES256", "RS256"],
        audience=AUDIENCE,
        issuer=os.environ["ISSUER_URI"],
        options={"require": ["exp", "iat", "sub", "jti", "client_id"]},
    )


def report(token):
    print(json.dumps(verified(token)))
