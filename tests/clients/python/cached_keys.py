"""An API with PyJWT: answers each token on a line of its standard input with `ok`, or why it is refused. It caches the key
set of JWKS_URI for MAX_AGE seconds.
"""

import os
import sys

import jwt

keys = jwt.PyJWKClient(os.environ["JWKS_URI"], cache_jwk_set=True, lifespan=int(os.environ["MAX_AGE"]))
for line in sys.stdin:
    token = line.strip()
    try:
        key = keys.get_signing_key_from_jwt(token)
        jwt.decode(
            token, key, algorithms=["ES256"], audience=os.environ["AUDIENCE"], issuer=os.environ["ISSUER_URI"]
        )
        print("ok", flush=True)
    except jwt.PyJWTError as error:
        print(error, flush=True)
