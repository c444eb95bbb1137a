"""Authlib: argument `basic` or `post`."""

import sys

from authlib.integrations.requests_client import OAuth2Session

import credential

session = OAuth2Session(
    credential.CLIENT_ID,
    credential.CLIENT_SECRET,
    scope="invoices:read",
    token_endpoint_auth_method=f"client_secret_{sys.argv[1]}",
)
answer = session.fetch_token(credential.TOKEN_URI, grant_type="client_credentials", resource=credential.AUDIENCE)
credential.report(answer["access_token"])
