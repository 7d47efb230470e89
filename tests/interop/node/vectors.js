// What this client makes of the published vectors, as JSON: `node vectors.js FOLDER`; of lines on stdin with `-`.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Chain, sha256 } from './chain.js'
import { Malformed, client, control } from './records.js'
import { SigningKey, signed } from './signing.js'
import { assemble, digest, split } from './weights.js'

const bytes = (text) => Buffer.from(text, 'base64')

/** A record by its schema, or null where it counts for nothing. */
function read(value, parsers = [control, client]) {
  for (const parser of parsers) {
    try {
      return parser(value)
    } catch (error) {
      if (!(error instanceof Malformed)) throw error
    }
  }
  return null
}

async function published(folder) {
  const load = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'))
  const [records, weights, signatures] = ['records.json', 'weights.json', 'signatures.json'].map(load)
  const values = records.map((record) => Buffer.from(record.value))
  const federation = JSON.parse(values.find((_, n) => records[n].type === 'opened')).federation
  const chain = new Chain(federation)
  const links = values.flatMap((value, offset) => {
    if (!chain.feed(offset, value)) return []
    const { seq, hash, base, round, phase, asked } = chain.head
    return [{ offset, seq, hash, base, round, phase, asked }]
  })
  const chunks = new Map(weights.chunks.map((chunk) => [chunk.offset, chunk]))
  const payload = await assemble(
    async function* (partition, first, count) {
      for (let offset = first; offset < first + count; offset++) {
        const { headers, value_base64: value } = chunks.get(offset)
        yield { offset, value: bytes(value), headers }
      }
    },
    { encoding: 'raw', ...weights.weights },
    weights.tensors,
  )
  const carried = weights.packed.carried.map((n) => weights.tensors[n])
  const packed = bytes(weights.packed.value_base64)
  const { topic, value, private_key_pem: pem, public_key: holder } = signatures
  const key = new SigningKey(pem)
  return {
    records: values.map((value) => ({ sha256: sha256(value), record: read(value) })),
    refused: load('refused.json').map(({ value_base64: value }) => read(bytes(value)) === null),
    links,
    tensors: split(weights.tensors, payload).map((data) => data.toString('hex')),
    packed: digest(carried, packed),
    public: key.public,
    header: key.header(topic, Buffer.from(value)).toString('base64'),
    holds: signatures.headers.map((each) => signed(bytes(each.signature_base64), topic, Buffer.from(value), holder)),
  }
}

const lines = () => readFileSync(0, 'utf8').split('\n').filter(Boolean).map((line) => read(bytes(line)))

console.log(JSON.stringify(process.argv[2] === '-' ? lines() : await published(process.argv[2])))
