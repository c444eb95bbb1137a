// openid-client with DPoP: it gets a bound token, with the nonce that the endpoint asks for, and reads userinfo with it;
// oauth4webapi checks token and proof like an API. Environment as for ../python/credential.py, and REPLICAS, base URLs
// separated by spaces: each request goes to the next one.
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const { CLIENT_ID, CLIENT_SECRET, ISSUER_URI, REPLICAS, AUDIENCE } = process.env

// The issuer names the first replica. Proofs are for the URL of the issuer, as behind a load balancer.
const replicas = REPLICAS.split(' ')
const statuses = []
async function balanced(url, options) {
  replicas.push(replicas.shift())
  const response = await fetch(url.toString().replace(ISSUER_URI, replicas[0]), options)
  statuses.push(response.status)
  return response
}

const authentication = client.ClientSecretBasic(CLIENT_SECRET)
const config = await client.discovery(new URL(ISSUER_URI), CLIENT_ID, undefined, authentication, {
  algorithm: 'oauth2',
  [client.customFetch]: balanced,
})
const metadata = config.serverMetadata()
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))
const parameters = { scope: 'openid invoices:read', resource: AUDIENCE }
statuses.length = 0
const answer = await client.clientCredentialsGrant(config, parameters, { DPoP })
const token = answer.access_token
const user = await client.fetchUserInfo(config, token, client.skipSubjectCheck, { DPoP })
const attempts = [...statuses]

// The request that an API gets from this client.
async function requestToApi(DPoP) {
  let received
  await oauth.protectedResourceRequest(token, 'GET', new URL(`${AUDIENCE}/invoices?page=2`), new Headers(), null, {
    DPoP,
    [oauth.customFetch]: async (url, { method, headers }) => {
      received = new Request(url, { method, headers })
      return new Response()
    },
  })
  return received
}

async function atApi(request) {
  const options = { [oauth.customFetch]: balanced }
  return oauth.validateJwtAccessToken(metadata, request, AUDIENCE, options).catch((error) => error.message)
}

const withProof = await requestToApi(DPoP)
const withoutProof = new Request(withProof.url, { headers: { authorization: `DPoP ${token}` } })
const bearer = new Request(withProof.url, { headers: { authorization: `Bearer ${token}` } })
const thief = oauth.DPoP({}, await oauth.generateKeyPair('ES256'))
const asBearer = await balanced(metadata.userinfo_endpoint, { headers: { authorization: `Bearer ${token}` } })
console.log(
  JSON.stringify({
    type: answer.token_type,
    jkt: await DPoP.calculateThumbprint(),
    user,
    attempts,
    asBearer: asBearer.status,
    api: {
      proof: await atApi(withProof),
      none: await atApi(withoutProof),
      bearer: await atApi(bearer),
      thief: await atApi(await requestToApi(thief)),
    },
  }),
)
