// Starts the mock server the way its own documentation does: nothing in it knows Outrigger. It serves the public
// document of @scalar/galaxy, and that document itself at /openapi.json.   usage: node serve.mjs [PORT]
import { createRequire } from 'node:module'

import { serve } from '@hono/node-server'
import { createMockServer } from '@scalar/mock-server'

const specification = createRequire(import.meta.url)('@scalar/galaxy/latest.json')
const app = await createMockServer({ specification })
const port = Number(process.argv[2] ?? 0)
serve({ fetch: app.fetch, hostname: '127.0.0.1', port }, ({ port }) => console.log(`listening on http://127.0.0.1:${port}`))
