// What js-libp2p 3 uses of newer engines, so that it also runs on Debian's Node.js (18 and 20).

import { webcrypto } from 'node:crypto'

globalThis.crypto ??= webcrypto

globalThis.CustomEvent ??= class extends Event {
  constructor (type, options = {}) {
    super(type, options)
    this.detail = options.detail ?? null
  }
}

Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new this((...settle) => { [resolve, reject] = settle })
  return { promise, resolve, reject }
}
