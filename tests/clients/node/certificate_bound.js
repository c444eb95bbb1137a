// openid-client gets a token that is bound to its certificate, and calls userinfo and an API with it: over a connection with
// that certificate, with another one and with none. A secret authenticates the client. Environment: CLIENT_ID,
// CLIENT_SECRET, ISSUER_URI, REPLICA, AUDIENCE, API (its URL), CERTIFICATES (a JSON list of {certificate, key} in PEM, the
// client's own one first).
import https from 'node:https'
import * as client from 'openid-client'

const { CLIENT_ID, CLIENT_SECRET, ISSUER_URI, REPLICA, AUDIENCE, API, CERTIFICATES } = process.env
const [own, other] = JSON.parse(CERTIFICATES).map(({ certificate, key }) => ({ cert: certificate, key }))

// fetch() presents no certificate.
const over = (tls) => (url, { method, headers, body }) =>
  new Promise((resolve, reject) => {
    const sent = Object.fromEntries(new Headers(headers))
    // A connection of its own for each request.
    const request = https.request(url, { method, headers: sent, agent: false, ...tls }, async (answer) => {
      const { statusCode: status, headers } = answer
      resolve(new Response(Buffer.concat(await answer.toArray()), { status, headers }))
    })
    request.on('error', reject).end(body?.toString())
  })

const metadata = { use_mtls_endpoint_aliases: true }
const config = await client.discovery(new URL(ISSUER_URI), CLIENT_ID, metadata, client.ClientSecretBasic(CLIENT_SECRET), {
  algorithm: 'oauth2',
  [client.customFetch]: (url, options) => fetch(url.toString().replace(ISSUER_URI, REPLICA), options),
})
const parameters = { scope: 'openid invoices:read', resource: AUDIENCE }

config[client.customFetch] = over({})
const unbound = await client.clientCredentialsGrant(config, parameters).then(
  () => 'a token',
  (error) => `${error.error}: ${error.error_description}`,
)
config[client.customFetch] = over(own)
const { access_token, token_type } = await client.clientCredentialsGrant(config, parameters)

// The statuses of a call over each connection.
async function statuses(call) {
  const seen = {}
  for (const [name, tls] of Object.entries({ own, other, none: {} })) {
    config[client.customFetch] = over(tls)
    seen[name] = await call().then(
      (answer) => answer.status ?? 200,
      (error) => error.status ?? error.message,
    )
  }
  return seen
}

console.log(
  JSON.stringify({
    supported: config.serverMetadata().tls_client_certificate_bound_access_tokens,
    unbound,
    type: token_type,
    token: access_token,
    claims: JSON.parse(Buffer.from(access_token.split('.')[1], 'base64url')),
    user: await statuses(() => client.fetchUserInfo(config, access_token, client.skipSubjectCheck)),
    api: await statuses(() => client.fetchProtectedResource(config, access_token, new URL(API), 'GET')),
  }),
)
