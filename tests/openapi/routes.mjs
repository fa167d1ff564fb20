// What a document lists, found without any of our code: prints, for each file named, one line of JSON with its version and
// every [METHOD, path], the base path before each path.
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace']

const basePath = (servers) => {
  const [server] = servers
  const url = server.url.replace(/\{([^}]*)\}/g, (whole, name) => server.variables?.[name]?.default ?? whole)
  return decodeURI(new URL(url, 'http://service.invalid/').pathname).replace(/\/+$/, '')
}

const dereference = (document, item) => {
  while (item.$ref !== undefined) {
    const keys = item.$ref.slice(2).split('/').map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
    item = keys.reduce((node, key) => node[key], document)
  }
  return item
}

for (const name of process.argv.slice(2)) {
  const text = readFileSync(name, 'utf8')
  const document = name.endsWith('.json') ? JSON.parse(text) : parse(text, { merge: true })
  const isOld = document.swagger !== undefined
  const routes = []
  for (const [path, entry] of Object.entries(document.paths ?? {})) {
    if (!path.startsWith('/')) continue
    const item = dereference(document, entry)
    for (const method of methods) {
      if (item[method] === undefined) continue
      const servers = [item[method].servers, item.servers, document.servers].find((list) => list?.length > 0)
      const base = isOld ? (document.basePath ?? '').replace(/\/+$/, '') : servers ? basePath(servers) : ''
      routes.push([method.toUpperCase(), base + path])
    }
  }
  console.log(JSON.stringify({ file: name, version: String(document.openapi ?? document.swagger), routes }))
}
