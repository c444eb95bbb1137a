// oauth4webapi finds the endpoint by discovery, requests a token with private_key_jwt and a DPoP proof, and verifies it like an
// API. Environment and result are those of ../python/credential.py.
import * as oauth from 'oauth4webapi'

const { CLIENT_ID, PRIVATE_KEY, KEY_ID, ISSUER_URI, REPLICA, AUDIENCE } = process.env
const issuer = new URL(ISSUER_URI)

// The issuer names the first replica; this connects to the replica under test.
const options = { [oauth.customFetch]: (url, init) => fetch(url.toString().replace(ISSUER_URI, REPLICA), init) }

const der = Buffer.from(PRIVATE_KEY.replace(/-----.*?-----/g, ''), 'base64')
const key = await crypto.subtle.importKey('pkcs8', der, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const discovered = await oauth.discoveryRequest(issuer, { ...options, algorithm: 'oauth2' })
const server = await oauth.processDiscoveryResponse(issuer, discovered)
const client = { client_id: CLIENT_ID }
const proof = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
const parameters = new URLSearchParams({ scope: 'invoices:read', resource: AUDIENCE })
const authentication = oauth.PrivateKeyJwt({ key, kid: KEY_ID })
const requested = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters, {
  ...options,
  DPoP: proof,
})
const answer = await oauth.processClientCredentialsResponse(server, client, requested)
if (answer.token_type !== 'dpop') throw new Error(`token_type is ${answer.token_type}`)

// The resource is the one that the proof is for.
const request = new Request(AUDIENCE, { headers: { authorization: `DPoP ${answer.access_token}` } })
const send = async (url, { method, headers }) => {
  request.headers.set('dpop', new Headers(headers).get('dpop'))
  return new Response(method)
}
await oauth.protectedResourceRequest(answer.access_token, 'GET', new URL(AUDIENCE), undefined, undefined, {
  DPoP: proof,
  [oauth.customFetch]: send,
})
console.log(JSON.stringify(await oauth.validateJwtAccessToken(server, request, AUDIENCE, options)))
