"""requests-oauth2client with DPoP: it gets a bound token, with the nonce that the endpoint asks for, and reads userinfo with
it. REPLICAS are base URLs separated by spaces: each request goes to the next one."""

import itertools
import json
import os

import requests
from requests.adapters import HTTPAdapter
from requests_oauth2client import ApiClient, ClientSecretBasic, OAuth2Client
from requests_oauth2client.exceptions import EndpointError

import credential

ISSUER = credential.ISSUER_URI
statuses = []


class Balanced(HTTPAdapter):
    """The issuer names the first replica. Proofs are for the URL of the issuer, as behind a load balancer."""

    replicas = itertools.cycle(os.environ["REPLICAS"].split())

    def send(self, request, **kwargs):
        sent = request.copy()
        sent.url = request.url.replace(ISSUER, next(self.replicas))
        response = super().send(sent, **kwargs)
        response.request = request
        statuses.append(response.status_code)
        return response


session = requests.Session()
session.mount(ISSUER, Balanced())
client = OAuth2Client(
    token_endpoint=f"{ISSUER}/oauth2/token",
    auth=ClientSecretBasic(credential.CLIENT_ID, credential.CLIENT_SECRET),
    session=session,
)
parameters = {"scope": "openid invoices:read", "resource": credential.AUDIENCE}
token = client.client_credentials(dpop=True, **parameters)
attempts = list(statuses)
user = ApiClient(ISSUER, auth=token, session=session).get("oauth2/userinfo").json()
try:
    unbound = str(client.client_credentials(**parameters))
except EndpointError as error:
    unbound = error.error
print(
    json.dumps(
        {
            "type": token.token_type,
            "jkt": token.dpop_key.dpop_jkt,
            "claims": credential.verified(token.access_token),
            "user": user,
            "attempts": attempts,
            "unbound": unbound,
        }
    )
)
