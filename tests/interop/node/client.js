// A client, step by step (docs/protocol.md section 7).
import { createHash, randomBytes } from 'node:crypto'
import { Chain, topicsOf } from './chain.js'
import { sleep } from './log.js'
import { Mlp, unfit } from './mlp.js'
import { encode } from './records.js'
import { carried, digest, fetchModel, nbytes, publish, split } from './weights.js'

const PACKED_BYTES = 900_000
const STRATEGIES = [
  'fedavg', 'fedavgm', 'fedadagrad', 'fedadam', 'fedyogi', 'median', 'trimmed_mean', 'krum', 'multi_krum', 'bulyan',
  'geometric_median', 'centred_clipping', 'norm_bounding', 'fednova',
]
const SELECTIONS = ['all', 'uniform', 'data_size', 'speed']

/** What a run asks for that this client does not know, each as a part of a sentence. */
export function unknown(opened, signs = false) {
  const { adaptation, rules, strategy, training } = opened
  const said = []
  const unless = (holds, why) => holds || said.push(why)
  unless(opened.framework === 'tf', `its framework is ${opened.framework}`)
  unless(!opened.forest, 'its model is a forest')
  unless(adaptation.adapt === 'strict', `its adapt is ${adaptation.adapt}`)
  unless(!opened.personal.length && adaptation.ditto === null, 'parts of its model stay at the sites')
  unless(!opened.frozen.length && !opened.untrained.length, 'its model has tensors that no gradient changes')
  for (const way of ['encoding_up', 'encoding_down']) unless(rules[way].name === 'raw', `its ${way} is ${rules[way].name}`)
  unless(STRATEGIES.includes(strategy.name), `its strategy is ${strategy.name}`)
  unless(!opened.groups.some((group) => group.direction !== 'server'), 'its strategy has a client half')
  unless(['sync', 'buffered', 'async'].includes(rules.mode), `its mode is ${rules.mode}`)
  unless(SELECTIONS.includes(rules.selection.name), `its selection is ${rules.selection.name}`)
  unless(['sgd', 'adam'].includes(training.optimizer), `its optimizer is ${JSON.stringify(training.optimizer)}`)
  unless(training.loss === 'categorical_crossentropy', `its loss is ${JSON.stringify(training.loss)}`)
  unless(training.learning_rate_schedule.name === 'constant', 'its learning rate changes by round')
  unless(!Object.keys(training.class_weight).length, 'its classes have weights')
  unless(rules.admission?.mode !== 'enrolled' || signs, 'it admits enrolled sites alone: name your key by --key')
  if (!said.length) {
    const why = unfit(JSON.parse(opened.architecture), opened.tensors)
    if (why) said.push(why)
  }
  return said
}

export class Client {
  /** `samplesFor(opened)` gives the site's samples; `say` tells people a sentence. */
  constructor({ log, federation, name, key = null, samplesFor, say = () => {}, patience = 60_000, packed = PACKED_BYTES }) {
    Object.assign(this, { log, federation, name, key, samplesFor, say, patience, packed })
    this.incarnation = randomBytes(8).toString('hex')
    this.topics = topicsOf(federation)
    this.chain = new Chain(federation)
    this.position = 0
    this.joined = null // the offset of our newest `joined`
    this.trained = null // the seq of the base that we trained from last
    this.activity = { phase: 'waiting', base: null }
  }

  /** Take part to the end. Throws where this client cannot, and has said so to the federation. */
  async run() {
    await this.#open()
    const { opened } = this.chain.head
    try {
      const told = unknown(opened, this.key !== null)
      if (told.length) throw new Error(`this client does not take part in federation ${this.federation}: ${told.join('; ')}`)
      this.samples = await this.samplesFor(opened)
      await this.#turns()
    } catch (error) {
      clearInterval(this.pulse)
      await this.#tell('client_failed', { detail: error.message.slice(0, 2000) }).catch(() => {})
      throw error
    }
  }

  /** Wait for the federation to be there. */
  async #open() {
    const until = Date.now() + this.patience
    for (; ; await sleep(200)) {
      if (await this.log.partitions(this.topics.control)) await this.#follow()
      if (this.chain.head) return
      if (Date.now() > until) throw new Error(`federation ${this.federation} is not open: is it the right id, and the right Kafka?`)
    }
  }

  /** Read the control topic to its present end; with `wait`, first wait so many ms for more. */
  async #follow(wait = 0) {
    const end = wait ? this.position + 1 : await this.log.end(this.topics.control, 0)
    do {
      const { records, next } = await this.log.fetch(this.topics.control, 0, this.position, { wait })
      this.position = next
      for (const { offset, value, headers } of records) this.chain.feed(offset, value, headers)
    } while (!wait && this.position < end)
  }

  async #turns() {
    for (let lost = null; ; ) {
      try {
        if (await this.#turn()) return
        lost = null
      } catch (error) {
        lost ??= Date.now()
        if (!error.name?.startsWith('KafkaJS') || Date.now() > lost + this.patience) throw error
        this.say(`Kafka: ${error.message}; trying again`)
        this.joined = null // said again, it changes nothing
        await sleep(1000)
      }
    }
  }

  /** What the head asks for; true when we have left. */
  async #turn() {
    const head = this.chain.head
    if (head.phase === 'stopped' || head.phase === 'failed') return this.#leave(`the run is ${head.phase}`)
    if (head.phase !== 'finished') await this.#present(head)
    if (over(head)) {
      const { x, version } = { x: await this.#model(head), version: head.base.version }
      const { held } = this.samples
      this.activity = { phase: 'evaluating', base: head.base.seq }
      const evaluation = held.count ? metrics(held.count, x.evaluate(held)) : null
      await this.#follow()
      const now = this.chain.head // a rollback may have opened the run again
      return over(now) && now.base.version === version && this.#leave('the run is finished', { version, evaluation })
    }
    const asked = head.asked ? head.asked.includes(this.name) : head.rules.selection.name === 'all'
    if (!asked || this.trained === head.base.seq) {
      await this.#follow(500)
      return false
    }
    const update = await this.#train(head)
    await this.#follow()
    if (admits(this.chain.head, head.base)) await this.#publish(head.base, update)
    else this.say(`the round closed before version ${head.base.version} was trained; its update is not sent`)
    this.trained = head.base.seq
    this.activity = { phase: 'waiting', base: null }
    return false
  }

  /** Join, or join again where the head's snapshot does not have us; throws where another process has our place. */
  async #present(head) {
    const { members, position } = head.snapshot
    const member = members.find((each) => each.client === this.name)
    const ours = member?.incarnation === this.incarnation
    if (ours && member.status === 'removed') throw new Error(`${this.name} was removed from the run by an operator`)
    if (member?.superseded.includes(this.incarnation))
      throw new Error(`another process has joined as ${this.name}: give each data set a client id of its own`)
    const gone = (ours && ['left', 'failed'].includes(member.status)) || (!member && position > this.joined)
    if (this.joined !== null && !(gone && this.seen !== head.seq)) return
    const told = { federation: this.federation, examples: this.samples.train.count, software: 'mainstem-node' }
    this.joined = await this.#tell('joined', told)
    this.seen = head.seq
    this.say(`joined as ${this.name}`)
    this.pulse ??= setInterval(() => this.#beat(), head.rules.heartbeat_timeout_ms / 3)
  }

  #beat() {
    const said = this.#tell('heartbeat', this.activity)
    this.beating = said.catch(() => {}) // the next one may be heard
  }

  async #model(head) {
    const { tensors } = head.opened
    const payload = await fetchModel(this.log, this.topics.data, head.weights, tensors)
    return new Mlp(tensors, split(tensors, payload).map((bytes) => new Float32Array(new Uint8Array(bytes).buffer)))
  }

  async #train(head) {
    const { training, tensors } = head.opened
    const model = await this.#model(head)
    this.activity = { phase: 'training', base: head.base.seq }
    const { train, held } = this.samples
    const evaluation = held.count ? metrics(held.count, model.evaluate(held)) : null
    const began = performance.now()
    const drawn = createHash('sha256').update(`${training.seed}:${this.name}:${head.base.seq}`).digest().readInt32LE()
    const { steps, ...values } = await model.train(train, {
      batch: training.batch_size, epochs: training.epochs, optimizer: training.optimizer, rate: training.learning_rate,
      shuffle: training.shuffle, seed: drawn,
    })
    if (!model.tensors.every((tensor) => tensor.every(Number.isFinite)))
      throw new Error('training came to numbers that are not finite: lower the learning rate')
    const payload = Buffer.concat(model.tensors.map((tensor) => Buffer.from(tensor.buffer)))
    this.say(`trained from version ${head.base.version}: loss ${values.loss.toFixed(4)}, accuracy ${values.accuracy.toFixed(3)}`)
    const train_seconds = Math.round(performance.now() - began) / 1000
    const report = { training: metrics(train.count, values), evaluation, train_seconds }
    return { payload, specs: carried(head.opened), steps, examples: train.count, report }
  }

  async #publish(base, { payload, specs, ...said }) {
    this.activity = { phase: 'uploading', base: base.seq }
    const update = `${base.seq}-0-${randomBytes(8).toString('hex')}`
    const weights = { writer: this.name, update, nbytes: nbytes(specs), sha256: digest(specs, payload) }
    const told = { base, number: 0, weights, ...said }
    if (payload.length <= this.packed) return this.#tell('update', told, payload)
    weights.chunks = await publish(this.log, this.topics.aggregator, this.name, update, payload)
    return this.#tell('update', told)
  }

  async #leave(why, said = {}) {
    clearInterval(this.pulse)
    await this.beating
    if (this.joined !== null) await this.#tell('left', said)
    this.say(`leaving: ${why}`)
    return true
  }

  /** Write a record of ours, signed where we have a key; its offset. An update may have its payload beside it. */
  async #tell(type, fields, payload = null) {
    const text = encode(type, { client: this.name, incarnation: this.incarnation, ...fields })
    const headers = payload ? { kind: 'update', manifest: text } : {}
    if (this.key) headers.signature = this.key.header(this.topics.aggregator, text)
    return this.log.append(this.topics.aggregator, 0, [{ key: this.name, value: payload ?? text, headers }])
  }
}

const over = (head) => head.phase === 'finished' || (head.phase === 'open' && head.round >= head.rules.rounds)
const metrics = (examples, values) => ({ examples, values })

/** Whether an update from `base` counts under this head. */
function admits(head, base) {
  if (head.phase !== 'open' || over(head)) return false
  const place = head.lineage.findIndex((model) => model.base.seq === base.seq)
  const reach = head.rules.mode === 'sync' ? 0 : head.rules.max_staleness
  return place >= 0 && head.lineage.length - 1 - place <= reach
}
