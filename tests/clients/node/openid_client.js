// openid-client finds the endpoint by discovery and requests a token; oauth4webapi verifies it like an API. Arguments:
// the kind of metadata (`oauth2` or `oidc`) and the authentication method (`basic` or `post`). Environment and result
// are those of ../python/credential.py.
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const { CLIENT_ID, CLIENT_SECRET, ISSUER_URI, REPLICA, AUDIENCE } = process.env
const [algorithm, method] = process.argv.slice(2)

// The issuer names the first replica; this connects to the replica under test.
const viaReplica = (url, options) => fetch(url.toString().replace(ISSUER_URI, REPLICA), options)

const authentication = method === 'basic' ? client.ClientSecretBasic : client.ClientSecretPost
const config = await client.discovery(new URL(ISSUER_URI), CLIENT_ID, undefined, authentication(CLIENT_SECRET), {
  algorithm,
  [client.customFetch]: viaReplica,
})
const answer = await client.clientCredentialsGrant(config, { scope: 'invoices:read', resource: AUDIENCE })

const request = new Request(AUDIENCE, { headers: { authorization: `Bearer ${answer.access_token}` } })
const claims = await oauth.validateJwtAccessToken(config.serverMetadata(), request, AUDIENCE, {
  [oauth.customFetch]: viaReplica,
})
console.log(JSON.stringify(claims))
