// A js-libp2p node for tests/test_js_interop.py: another implementation of the profile in specs/04-transport.md.
//
// It reads one JSON object from stdin ({seed, address, topics, frame, gossip}), dials `address` and does everything once:
// identify, ping, a channel on which it sends `frame`, a message of gossip. What it sees goes to stdout, an event a line.
// It knows nothing of envelopes: it carries bytes (base64 in JSON) that the test made and the test reads. It ends with stdin.

import './polyfill.js'
import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const LENGTH_SIZE = 4

const say = (event, fields) => console.log(JSON.stringify({ event, ...fields }))
const encoded = (bytes) => Buffer.from(bytes).toString('base64')
const decoded = (text) => Uint8Array.from(Buffer.from(text, 'base64'))

function framed (bytes) {
  const length = Buffer.alloc(LENGTH_SIZE)
  length.writeUInt32BE(bytes.length)
  return Uint8Array.from(Buffer.concat([length, bytes]))
}

function readFrames (stream) {
  let unread = Buffer.alloc(0)
  stream.addEventListener('message', ({ data }) => {
    unread = Buffer.concat([unread, data.subarray()])
    while (unread.length >= LENGTH_SIZE) {
      const end = LENGTH_SIZE + unread.readUInt32BE()
      if (unread.length < end) break
      say('frame', { data: encoded(unread.subarray(LENGTH_SIZE, end)) })
      unread = unread.subarray(end)
    }
  })
}

function subscribed (pubsub, topic, peer) {
  const there = () => pubsub.getSubscribers(topic).some((id) => id.equals(peer))
  return new Promise((resolve) => {
    if (there()) resolve()
    pubsub.addEventListener('subscription-change', () => { if (there()) resolve() })
  })
}

const lines = createInterface({ input: process.stdin })
const { value: first } = await lines[Symbol.asyncIterator]().next()
const wanted = JSON.parse(first)

const node = await createLibp2p({
  privateKey: await generateKeyPairFromSeed('Ed25519', decoded(wanted.seed)),
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub({
      globalSignaturePolicy: 'StrictNoSign',
      msgIdFn: ({ data }) => createHash('sha256').update(data).digest()
    })
  }
})
process.stdin.on('end', () => node.stop().then(() => process.exit(0)))
const { pubsub } = node.services
pubsub.addEventListener('gossipsub:message', ({ detail: { msg } }) => {
  say('gossip', { topic: msg.topic, data: encoded(msg.data) })
})
const identified = new Promise((resolve) => {
  node.addEventListener('peer:identify', ({ detail }) => resolve(detail), { once: true })
})
for (const topic of wanted.topics) pubsub.subscribe(topic)

const address = multiaddr(wanted.address)
const connection = await node.dial(address)
const peer = connection.remotePeer
say('connected', { peer_id: String(peer), encryption: connection.encryption, multiplexer: connection.multiplexer })
const { peerId, protocols } = await identified
say('identify', { peer_id: String(peerId), protocols })
say('ping', { ms: await node.services.ping.ping(address) })

const channel = await connection.newStream(protocols.filter((name) => name.endsWith('/channel/1')))
readFrames(channel)
channel.send(framed(decoded(wanted.frame)))

await subscribed(pubsub, wanted.gossip.topic, peer)
const { recipients } = await pubsub.publish(wanted.gossip.topic, decoded(wanted.gossip.data))
say('published', { recipients: recipients.map(String), streams: connection.streams.map((stream) => stream.protocol) })
