// A real issuer for the end-to-end tests: npm's oidc-provider as it comes, on 127.0.0.1, with one client that may ask for
// access tokens (client_credentials, JWT, RS256). A line "issuer listens" says where it is. Beside the provider's own
// paths there are two for the test:
//   POST /-/rotate  a new key signs from now on; the key set has the earlier ones, too
//   GET  /-/counts  how often the discovery document and the key set were asked for
// usage: node issuer.mjs [PORT]   (0, the default: any free one)
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const audience = 'https://api.example.test'
const keys = []
const counts = { discovery: 0, jwks: 0 }
let answer

function addKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  // Of several keys that are fit the provider signs with the first.
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' })
}

// The provider takes its keys when it is made: with other keys it is another one, which takes over between two requests.
function begin(issuer) {
  answer = new Provider(issuer, {
    clients: [{
      client_id: 'tester', client_secret: 'tester-secret', grant_types: ['client_credentials'],
      redirect_uris: [], response_types: [],
    }],
    jwks: { keys },
    scopes: ['read', 'write'],
    extraTokenClaims: () => ({ 'stellaops:tenant': 'acme' }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => audience,
        getResourceServerInfo: () => ({
          audience, scope: 'read write', accessTokenTTL: 3600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  }).callback()
}

let issuer
const server = createServer((request, response) => {
  const say = (value) => response.setHeader('Content-Type', 'application/json').end(JSON.stringify(value))
  switch (request.url) {
    case '/-/rotate':
      addKey()
      begin(issuer)
      return say({ kid: keys[0].kid })
    case '/-/counts':
      return say(counts)
    case '/.well-known/openid-configuration':
      counts.discovery += 1
      break
    case '/jwks':
      counts.jwks += 1
      break
    default:
  }
  return answer(request, response)
})
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`
  addKey()
  begin(issuer)
  console.log(`issuer listens address=${issuer.slice('http://'.length)}`)
})
process.on('SIGTERM', () => process.exit(0))
