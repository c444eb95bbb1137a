"""requests-oauthlib: argument `basic` or `post`."""

import sys

from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

import credential

session = OAuth2Session(client=BackendApplicationClient(client_id=credential.CLIENT_ID, scope=["invoices:read"]))
answer = session.fetch_token(
    credential.TOKEN_URI,
    client_id=credential.CLIENT_ID,
    client_secret=credential.CLIENT_SECRET,
    include_client_id=sys.argv[1] == "post",
    audience=credential.AUDIENCE,
)
credential.report(answer["access_token"])
