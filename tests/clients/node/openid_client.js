// openid-client finds the endpoint by discovery and requests a token; oauth4webapi verifies it like an API. Arguments:
// the kind of metadata (`oauth2` or `oidc`) and the authentication method (`basic`, `post`, `key` or `certificate`).
// Environment and result are those of ../python/credential.py.
import https from 'node:https'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const { CLIENT_ID, CLIENT_SECRET, PRIVATE_KEY, KEY_ID, CERTIFICATE, ISSUER_URI, REPLICA, AUDIENCE } = process.env
const [algorithm, method] = process.argv.slice(2)

// The issuer names the first replica; this connects to the replica under test.
const viaReplica = (url, options) => fetch(url.toString().replace(ISSUER_URI, REPLICA), options)

const authentications = {
  basic: () => client.ClientSecretBasic(CLIENT_SECRET),
  post: () => client.ClientSecretPost(CLIENT_SECRET),
  key: async () => client.PrivateKeyJwt({ key: await privateKey(), kid: KEY_ID }),
  certificate: () => client.TlsClientAuth(),
}

// fetch() presents no certificate.
const withCertificate = (url, { method, headers, body }) =>
  new Promise((resolve, reject) => {
    const tls = { cert: CERTIFICATE, key: PRIVATE_KEY }
    const request = https.request(url, { method, headers, ...tls }, async (answer) => {
      const { statusCode: status, headers } = answer
      resolve(new Response(Buffer.concat(await answer.toArray()), { status, headers }))
    })
    request.on('error', reject).end(body?.toString())
  })

async function privateKey() {
  const der = Buffer.from(PRIVATE_KEY.replace(/-----.*?-----/g, ''), 'base64')
  return crypto.subtle.importKey('pkcs8', der, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
}

const authentication = await authentications[method]()
const metadata = { use_mtls_endpoint_aliases: method === 'certificate' }
const config = await client.discovery(new URL(ISSUER_URI), CLIENT_ID, metadata, authentication, {
  algorithm,
  [client.customFetch]: viaReplica,
})
if (method === 'certificate') config[client.customFetch] = withCertificate
const answer = await client.clientCredentialsGrant(config, { scope: 'invoices:read', resource: AUDIENCE })

const request = new Request(AUDIENCE, { headers: { authorization: `Bearer ${answer.access_token}` } })
const claims = await oauth.validateJwtAccessToken(config.serverMetadata(), request, AUDIENCE, {
  [oauth.customFetch]: viaReplica,
})
console.log(JSON.stringify(claims))
