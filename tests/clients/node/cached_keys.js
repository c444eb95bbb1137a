// An API with jose: answers each token on a line of its standard input with `ok`, or why it is refused. It caches the key
// set of JWKS_URI for MAX_AGE seconds, and does not fetch it earlier for an unknown key.
import { createInterface } from 'node:readline'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { JWKS_URI, ISSUER_URI, AUDIENCE, MAX_AGE } = process.env
const keys = createRemoteJWKSet(new URL(JWKS_URI), { cacheMaxAge: MAX_AGE * 1000, cooldownDuration: Infinity })

for await (const token of createInterface({ input: process.stdin })) {
  const verified = jwtVerify(token, keys, { issuer: ISSUER_URI, audience: AUDIENCE, typ: 'at+jwt' })
  console.log(await verified.then(() => 'ok').catch((error) => error.message))
}
