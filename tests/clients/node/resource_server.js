// An API with oauth4webapi, as in examples/resource-servers/node.js: prints the result for a token before and after
// its client revokes it. Environment as for ../python/credential.py, and API_CLIENT_ID and API_CLIENT_SECRET, the
// API's own credential.
import * as oauth from 'oauth4webapi'
import { discover, introspect, verify } from './example.js'

const { CLIENT_ID, CLIENT_SECRET, API_CLIENT_ID, API_CLIENT_SECRET, ISSUER_URI, REPLICA, AUDIENCE } = process.env

// The issuer names the first replica; this connects to the replica under test.
const options = { [oauth.customFetch]: (url, init) => fetch(url.toString().replace(ISSUER_URI, REPLICA), init) }
const server = await discover(ISSUER_URI, options)
const secret = oauth.ClientSecretBasic(CLIENT_SECRET)
const client = { client_id: CLIENT_ID }

const parameters = { scope: 'invoices:read', resource: AUDIENCE }
const granted = await oauth.clientCredentialsGrantRequest(server, client, secret, parameters, options)
const { access_token: token } = await oauth.processClientCredentialsResponse(server, client, granted)

async function learned() {
  const request = new Request(AUDIENCE, { headers: { authorization: `Bearer ${token}` } })
  const api = { client_id: API_CLIENT_ID }
  const signed = { ...api, introspection_signed_response_alg: 'ES256' }
  return {
    verified: await verify(server, request, AUDIENCE, options).catch((error) => error.message),
    introspected: await introspect(server, api, API_CLIENT_SECRET, token, AUDIENCE, options),
    signed: await introspect(server, signed, API_CLIENT_SECRET, token, AUDIENCE, options),
    elsewhere: await introspect(server, api, API_CLIENT_SECRET, token, 'https://ledger.example.com', options),
  }
}

const before = await learned()
const revoked = await oauth.revocationRequest(server, client, secret, token, options)
await oauth.processRevocationResponse(revoked)
console.log(JSON.stringify({ before, after: await learned() }))
