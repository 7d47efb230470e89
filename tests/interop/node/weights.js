// Tensors as payloads, chunks and digests (docs/protocol.md section 4).
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

const CHUNK_BYTES = 1 << 20
const SIZES = {
  bool: 1, int8: 1, uint8: 1, float16: 2, int16: 2, uint16: 2, float32: 4, int32: 4, uint32: 4, float64: 8, int64: 8,
  uint64: 8,
}

const elements = (spec) => spec.shape.reduce((product, size) => product * size, 1)
const bytesOf = (spec) => elements(spec) * SIZES[spec.dtype]
export const nbytes = (specs) => specs.reduce((sum, spec) => sum + bytesOf(spec), 0)

/** The specs of what an update carries: floats that are not frozen, in the model's order. */
export const carried = (opened) =>
  opened.tensors.filter((spec, n) => spec.dtype.startsWith('float') && !opened.frozen.includes(n))

/** Each tensor's bytes in a payload. */
export function split(specs, payload) {
  let at = 0
  return specs.map((spec) => payload.subarray(at, (at += bytesOf(spec))))
}

/** The digest of tensors of these specs. */
export function digest(specs, payload) {
  const hash = createHash('sha256')
  const add = (bytes) => hash.update(`${bytes.length}:`).update(bytes)
  split(specs, payload).forEach((data, n) => {
    add(Buffer.from([specs[n].name, specs[n].dtype, specs[n].shape.join(',')].join('\0')))
    add(data)
  })
  return hash.digest('hex')
}

/** The payload that a manifest names, out of the records that `read(partition, first, count)` gives. */
export async function assemble(read, manifest, specs) {
  const due = nbytes(specs)
  const count = manifest.chunks.reduce((sum, [, , each]) => sum + each, 0)
  if (manifest.encoding !== 'raw') throw new Error(`its weights are encoded as ${manifest.encoding}`)
  if (manifest.nbytes !== due) throw new Error(`its tensors take ${due} bytes, its manifest says ${manifest.nbytes}`)
  if (count > 16 + due / 4096) throw new Error(`its manifest names ${count} chunks for ${due} bytes`)
  const payload = Buffer.alloc(due)
  let [at, index] = [0, 0]
  for (const [partition, first, each] of manifest.chunks) {
    let offset = first
    for await (const { offset: found, headers, value } of read(partition, first, each)) {
      const said = (name) => headers[name]?.toString()
      const right = found === offset++ && said('kind') === 'chunk' && said('index') === String(index++)
      if (!right || said('writer') !== manifest.writer || said('update') !== manifest.update)
        throw new Error(`offset ${found} is not chunk ${index - 1} of ${manifest.update}`)
      if (at + value.length > due) throw new Error('its chunks hold more than its manifest says')
      value.copy(payload, at)
      at += value.length
    }
  }
  if (at !== due) throw new Error(`its chunks hold ${at} bytes, its manifest says ${due}`)
  if (digest(specs, payload) !== manifest.sha256) throw new Error('its payload has another digest than its manifest')
  return payload
}

/** A version's payload, from the data topic. */
export const fetchModel = (log, topic, manifest, specs) =>
  assemble((partition, first, count) => log.range(topic, partition, first, first + count), manifest, specs)

/** Write a payload as chunks and wait for their acknowledgements; the runs of offsets for the manifest. */
export async function publish(log, topic, writer, update, payload) {
  const partitions = await log.partitions(topic)
  const partition = partitions === 1 ? 0 : 1 + (crc32(writer) % (partitions - 1))
  const runs = []
  for (let index = 0; index * CHUNK_BYTES < payload.length; index++) {
    const value = payload.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES)
    const headers = { kind: 'chunk', writer, update, index: String(index) }
    const offset = await log.append(topic, partition, [{ value, headers }])
    const last = runs.at(-1)
    if (last && last[1] + last[2] === offset) last[2]++
    else runs.push([partition, offset, 1])
  }
  return runs
}
