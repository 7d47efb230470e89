// The control topic: which lifecycle record follows which (docs/protocol.md section 5), and what the head says.
import { createHash } from 'node:crypto'
import { Malformed, PAGED_BYTES, control } from './records.js'
import { signed } from './signing.js'

const PAGES_HELD = 4096
const LIFECYCLE = ['opened', 'round', 'selected', 'rolled_back', 'stopped', 'resumed', 'changed', 'finished', 'failed']

export const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other) // of values from one schema
const sorted = (names) => [...names].sort().join()

/** The names of a federation's topics. */
export const topicsOf = (id) => ({
  control: `FED-${id}-model_control_topic`,
  data: `FED-${id}-model_data_topic`,
  aggregator: `FEDERATED_AGGREGATOR_TOPIC-${id}`,
})

/** Takes the records of a control topic in order; `head` is what they come to so far, null before `opened`. */
export class Chain {
  constructor(federation) {
    this.federation = federation
    this.head = null
    this.pages = new Map()
  }

  /** Whether the record at this offset took its place in the chain. */
  feed(offset, value, headers = {}) {
    try {
      const hash = value && sha256(value)
      const said = control(value)
      let record = said
      if (record.type === 'page') this.#hold(offset, hash, record.data)
      if (this.#forged(record, value, headers)) return false
      if (record.type === 'paged') record = this.#resolve(record)
      if (this.#forged(record, value, headers)) return false // of a paged `opened`, which names the key
      if (!LIFECYCLE.includes(record.type) || record.federation !== this.federation) return false
      const changes = this.head ? this.#next(this.head, record) : this.#first(record)
      if (changes === null) return false
      this.head = { ...this.head, ...changes, seq: record.seq, hash, offset }
      for (const page of said.pages ?? []) this.pages.delete(page.offset)
      return true
    } catch (error) {
      if (error instanceof Malformed) return false
      throw error
    }
  }

  /** Whether a run's records are signed with the platform's key, and this one is not. */
  #forged(record, value, headers) {
    const { platform } = this.head?.opened ?? record
    return platform && !signed(headers.signature, topicsOf(this.federation).control, value, platform)
  }

  #hold(offset, hash, data) {
    this.pages.set(offset, { hash, data })
    if (this.pages.size > PAGES_HELD) this.pages.delete(this.pages.keys().next().value)
  }

  #resolve(paged) {
    const found = paged.pages.map((page) => this.pages.get(page.offset))
    if (!found.every((page, n) => page?.hash === paged.pages[n].sha256)) throw new Malformed('a page is not there')
    const text = Buffer.from(found.map((page) => page.data).join(''))
    if (sha256(text) !== paged.sha256) throw new Malformed('its pages have another hash')
    const record = control(text, PAGED_BYTES)
    const alike = ['federation', 'seq', 'prev'].every((name) => record[name] === paged[name])
    if (!alike || !LIFECYCLE.includes(record.type)) throw new Malformed('its pages hold another record')
    return record
  }

  #first(record) {
    const begins = record.type === 'opened' && record.seq === 0 && record.prev === ''
    if (!begins || !same(record.topics, topicsOf(this.federation))) return null
    const { weights, rules } = record
    const model = { base: { seq: 0, version: 0 }, weights, state: {} }
    const snapshot = { position: 0, time_ms: 0, members: [], forgotten: null }
    return { opened: record, rules, phase: 'open', round: 0, snapshot, asked: null, lineage: [model], ...model }
  }

  /** What a record changes of the head; null where it does not follow. */
  #next(head, record) {
    if (record.seq !== head.seq + 1 || record.prev !== head.hash) return null
    switch (record.type) {
      case 'round': {
        const published = head.opened.groups.filter((group) => group.direction !== 'up').map((group) => group.name)
        if (sorted(Object.keys(record.state)) !== sorted(published)) return null
        if ((record.weights.change === null) !== (head.opened.rules.encoding_down.name === 'raw')) return null
        return { round: record.round, ...this.#model(record, head.lineage) }
      }
      case 'rolled_back': {
        const there = head.lineage.find((model) => model.base.version === record.version)
        if (!there || !same([there.weights, there.state], [record.weights, record.state])) return null
        const kept = head.lineage.filter((model) => model.base.version <= record.version)
        const versions = new Set(kept.map((model) => model.base.version))
        return { round: [...versions].filter((version) => version > 0).length, ...this.#model(record, kept) }
      }
      case 'selected':
        return { asked: record.clients }
      case 'changed':
        return { rules: record.rules }
      case 'resumed':
        return { phase: 'open' }
      case 'finished':
        if (record.version !== head.base.version || record.sha256 !== head.weights.sha256) return null
        return { phase: 'finished' }
      case 'stopped':
      case 'failed':
        return { phase: record.type }
      default:
        return null
    }
  }

  #model({ seq, version, weights, state, snapshot }, before) {
    const model = { base: { seq, version }, weights, state }
    return { ...model, lineage: [...before, model], snapshot, phase: 'open', asked: null }
  }
}
