// A site's own samples: the announcement that names them, and their RAW records (docs/streams.md).
import { isDeepStrictEqual } from 'node:util'

const ANNOUNCEMENTS = 'FEDERATED_DATA_CONTROL_TOPIC'
const TYPES = {
  float32: Float32Array, single: Float32Array, float64: Float64Array, double: Float64Array, float: Float64Array,
  int8: Int8Array, int16: Int16Array, int32: Int32Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
}

const shapeOf = (said) => (Array.isArray(said) ? said : String(said ?? '').split(/\s+/).filter(Boolean)).map(Number)
const sizeOf = (shape) => shape.reduce((product, size) => product * size, 1)

/** Whom an announcement is addressed to by its key: a federation's id, or null for nobody in particular. */
const addressee = (key) => (/^[\x20-\x7e]{5,}$/.test(key ?? '') ? key.toString() : null)

/** Why a stream is not for this run; null where it is. */
export function misfit(said, opened) {
  const { input } = opened
  const config = said.input_config ?? {}
  if (said.input_format !== 'RAW' || !TYPES[config.data_type] || !TYPES[config.label_type] || config.data_header)
    return 'it is not RAW data and labels of a type that this client reads'
  if (!/:\d+:\d+:\d+(,|$)/.test(said.topic)) return 'it grows: only exact ranges are read'
  if (!isDeepStrictEqual(shapeOf(config.data_reshape), input.shape)) return `its samples are not ${input.shape}`
  if (!isDeepStrictEqual(shapeOf(config.label_reshape), input.label_shape)) return `its labels are not ${input.label_shape}`
  return null
}

/** The newest announcement that fits the run and is addressed to it or to nobody; or the one at `offset`. */
export async function announced(log, opened, offset = null) {
  const end = (await log.partitions(ANNOUNCEMENTS)) ? await log.end(ANNOUNCEMENTS, 0) : 0
  let found = null
  for await (const record of log.range(ANNOUNCEMENTS, 0, offset ?? 0, offset === null ? end : offset + 1)) {
    const said = objectIn(record.value)
    const meant = [null, opened.federation].includes(addressee(record.key))
    if (said && meant && alike(said.dataset_restrictions, opened.data.restriction) && !misfit(said, opened)) found = said
  }
  if (found) return found
  throw new Error(`${ANNOUNCEMENTS} announces no stream that fits federation ${opened.federation}: name one by --stream`)
}

function objectIn(bytes) {
  try {
    const said = JSON.parse(bytes)
    return said && typeof said === 'object' ? said : null
  } catch {
    return null
  }
}

function alike(said, asked) {
  const value = typeof said === 'string' ? objectIn(said || '{}') : said
  return isDeepStrictEqual(value ?? {}, asked ?? {})
}

/** The samples that it names: `{train, held}`, each `{x, y, count}`. The last ones are held out, for evaluation. */
export async function samples(log, said) {
  const { data_type: data, label_type: label, data_reshape: shape, label_reshape: labels } = said.input_config
  const [widths, types] = [[shape, labels].map((each) => sizeOf(shapeOf(each))), [TYPES[data], TYPES[label]]]
  const [xs, ys] = [[], []]
  for (const part of said.topic.split(',')) {
    const [topic, ...numbers] = part.split(':')
    const [partition, start, end] = numbers.map(Number)
    for await (const { value, key } of log.range(topic, partition, start, end, { committed: true })) {
      const [x, y] = [value, key].map((bytes, n) => numbersIn(bytes, types[n], widths[n]))
      if (x && y) xs.push(x) && ys.push(y)
    }
  }
  const held = Math.round(xs.length * ((said.test_rate ?? 0) + (said.validation_rate ?? 0)))
  const split = [xs.length - held, held]
  if (!split[0]) throw new Error(`${said.topic} leaves no sample to train on`)
  const [train, rest] = split.map((count, n) => {
    const joined = [xs, ys].map((list) => list.slice(n ? split[0] : 0, n ? undefined : split[0]))
    const [x, y] = joined.map((list, m) => flat(list, widths[m]))
    return { x, y, count }
  })
  return { train, held: rest }
}

const flat = (list, width) => {
  const found = new Float32Array(list.length * width)
  list.forEach((each, n) => found.set(each, n * width))
  return found
}

/** An array of a record's bytes, little-endian as this machine must be; null where it has another size. */
function numbersIn(bytes, type, width) {
  if (bytes?.length !== width * type.BYTES_PER_ELEMENT) return null
  return new type(new Uint8Array(bytes).buffer)
}
