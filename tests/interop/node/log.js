// Kafka, as far as a client needs it: read a partition from an offset on; write, and wait for the acknowledgement.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

// By `require`, so that NODE_PATH may say where the package is.
const require = createRequire(import.meta.url)
const { Kafka, Partitioners, logLevel } = require('kafkajs')
const Batch = require('kafkajs/src/consumer/batch')

const FETCH_BYTES = 8 << 20
const TRIES = 8

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** kafkajs' options for TLS and a login, from a property file such as DATA_CLIENT_CONFIG names. */
export function access(file) {
  const lines = file ? readFileSync(file, 'utf8').split('\n') : []
  const said = Object.fromEntries(lines.filter((line) => /^\s*[^#\s]/.test(line) && line.includes('=')).map((line) => {
    const at = line.indexOf('=')
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()]
  }))
  const protocol = (said['security.protocol'] ?? 'plaintext').toUpperCase()
  const ca = said['ssl.ca.location'] && [readFileSync(said['ssl.ca.location'], 'utf8')]
  const mechanism = (said['sasl.mechanism'] ?? said['sasl.mechanisms'] ?? 'PLAIN').toLowerCase()
  return {
    ...(protocol.endsWith('SSL') && { ssl: ca ? { ca } : true }),
    ...(protocol.startsWith('SASL') && {
      sasl: { mechanism, username: said['sasl.username'], password: said['sasl.password'] },
    }),
  }
}

export class Log {
  constructor(bootstrap, options = {}) {
    const kafka = new Kafka({
      clientId: 'mainstem-node', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING, connectionTimeout: 10_000,
      ...options,
    })
    const topics = { allowAutoTopicCreation: false }
    const createPartitioner = Partitioners.DefaultPartitioner
    this.producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1, createPartitioner, ...topics })
    // kafkajs reads in consumer groups only. A group needs rights that a client is not given, and takes seconds to
    // form; so this takes the fetch request from below them.
    const [create] = Object.getOwnPropertySymbols(kafka).filter((each) => each.description.endsWith('createCluster'))
    this.cluster = kafka[create]({ metadataMaxAge: 60_000, ...topics })
  }

  async connect() {
    await Promise.all([this.producer.connect(), this.cluster.connect()])
  }

  async close() {
    await Promise.allSettled([this.producer.disconnect(), this.cluster.disconnect()])
  }

  /** How many partitions a topic has; 0 where there is no such topic. */
  async partitions(topic) {
    try {
      await this.cluster.addTargetTopic(topic)
      return this.cluster.findTopicPartitionMetadata(topic).length
    } catch (error) {
      if (error.type === 'UNKNOWN_TOPIC_OR_PARTITION') return 0
      throw error
    }
  }

  /** Records from `offset` on and the offset after them; waits up to `wait` ms for the first. */
  async fetch(topic, partition, offset, { wait = 0, committed = false } = {}) {
    const { responses } = await this.#leader(topic, partition, (broker) => broker.fetch({
      isolationLevel: committed ? 1 : 0, maxWaitTime: wait, maxBytes: FETCH_BYTES,
      topics: [{ topic, partitions: [{ partition, fetchOffset: String(offset), maxBytes: FETCH_BYTES }] }],
    }))
    const batch = new Batch(topic, String(offset), responses[0].partitions[0])
    const records = batch.messages.map((each) => ({ ...each, offset: Number(each.offset) }))
    return { records, next: batch.rawMessages.length ? Math.max(Number(batch.lastOffset()) + 1, offset) : offset }
  }

  /** Where a partition ends now; with `committed`, where its first open transaction begins. */
  async end(topic, partition, committed = false) {
    const { responses } = await this.#leader(topic, partition, (broker) => broker.listOffsets({
      replicaId: -1, isolationLevel: committed ? 1 : 0, topics: [{ topic, partitions: [{ partition, timestamp: -1 }] }],
    }))
    return Number(responses[0].partitions[0].offset)
  }

  /** The records of a range; fewer where some of the offsets are no records. */
  async *range(topic, partition, start, end, options) {
    while (start < end) {
      const { records, next } = await this.fetch(topic, partition, start, { wait: 500, ...options })
      yield* records.filter((record) => record.offset < end)
      if (next === start && start >= (await this.end(topic, partition, options?.committed)))
        throw new Error(`${topic}:${partition} ends at offset ${start}; ${end} were expected`)
      start = next
    }
  }

  /** Write records to one partition in order; the offset of the first, once all are acknowledged. */
  async append(topic, partition, messages) {
    const [done] = await this.producer.send({
      topic, acks: -1, messages: messages.map((each) => ({ ...each, partition })),
    })
    return Number(done.baseOffset)
  }

  async #leader(topic, partition, ask) {
    for (let tried = 1; ; tried++) {
      try {
        await this.cluster.addTargetTopic(topic)
        const [nodeId] = Object.keys(this.cluster.findLeaderForPartitions(topic, [partition]))
        if (nodeId === undefined) throw new Error(`${topic} has no partition ${partition}`)
        return await ask(await this.cluster.findBroker({ nodeId }))
      } catch (error) {
        if (!error.retriable || tried === TRIES) throw error
        await sleep(100 * 2 ** tried)
        await this.cluster.refreshMetadata().catch(() => {}) // the next try says what is wrong
      }
    }
  }
}
