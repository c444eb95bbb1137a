// An API in Node that accepts tokens of Postern, with oauth4webapi. NODE_EXTRA_CA_CERTS names the file of the CA.
import * as oauth from 'oauth4webapi'

// Once, at start: where keys and endpoints are.
export async function discover(issuer, options) {
  const answer = await oauth.discoveryRequest(new URL(issuer), { algorithm: 'oauth2', ...options })
  return oauth.processDiscoveryResponse(new URL(issuer), answer)
}

// Offline: type, signature, issuer, audience and times of the JWT in the request's Authorization header. Throws.
export function verify(server, request, audience, options) {
  return oauth.validateJwtAccessToken(server, request, audience, options)
}

// By asking Postern: claims that are true now, or undefined. `client` is { client_id }, and with
// introspection_signed_response_alg: 'ES256' the answer is signed, for an API that has to keep the proof.
export async function introspect(server, client, clientSecret, token, audience, options) {
  const answer = await oauth.introspectionRequest(server, client, oauth.ClientSecretBasic(clientSecret), token, options)
  const claims = await oauth.processIntrospectionResponse(server, client, answer)
  if (client.introspection_signed_response_alg) await oauth.validateApplicationLevelSignature(server, answer, options)
  return claims.active && [claims.aud].flat().includes(audience) ? claims : undefined
}
