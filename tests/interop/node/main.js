// node main.js --federation ID --bootstrap HOST:PORT --client NAME
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Client } from './client.js'
import { Log, access } from './log.js'
import { SigningKey } from './signing.js'
import { announced, misfit, samples } from './stream.js'

const HELP = `usage: node main.js --federation ID --bootstrap HOST:PORT,... --client NAME [options]

Take part in a federation as one client, from the protocol's page alone: follow its control topic, train a multilayer
perceptron on this site's own stream, send updates, leave with an evaluation of the final model.

  --federation ID          8 characters of a-z and 0-9
  --bootstrap SERVERS      the Kafka that has the federation's topics
  --client NAME            this data set's client id, the same at every start
  --client-config FILE     TLS and a login for that Kafka: security.protocol, sasl.mechanism, ssl.ca.location, ...
  --key FILE               the site's Ed25519 key (PKCS #8, PEM): every record of this client is signed with it
  --data-bootstrap SERVERS the Kafka that has the site's stream (default: --bootstrap, and then its --client-config)
  --data-client-config FILE  likewise for that Kafka
  --announcement OFFSET    the stream announced at this offset of FEDERATED_DATA_CONTROL_TOPIC (default: the newest
                           that fits)
  --stream RANGES          topic:partition:start:end,... instead of an announcement, of RAW samples
  --input-config JSON      of --stream: data_type, data_reshape, label_type, label_reshape
  --held-out RATE          of --stream: the last part of it, for evaluation (default: 0.1)
  --packed BYTES           a larger update goes in chunks (default: 900000)
  --patience SECONDS       how long to wait for the federation, and for a Kafka that is away (default: 60)

exit codes: 0 when the run has ended; 1 with one sentence on stderr; 2 for a wrong option`

const TEXT = { type: 'string' }
const NAMES = [
  'federation', 'bootstrap', 'client', 'client-config', 'key', 'data-bootstrap', 'data-client-config', 'announcement',
  'stream', 'input-config', 'held-out', 'packed', 'patience',
]

function options() {
  try {
    const declared = Object.fromEntries(NAMES.map((name) => [name, TEXT]))
    const { values } = parseArgs({ options: { ...declared, help: { type: 'boolean' } } })
    if (values.help) {
      console.log(HELP)
      process.exit(0)
    }
    for (const name of ['federation', 'bootstrap', 'client'])
      if (!values[name]) throw new Error(`--${name} is missing; see --help`)
    if (!/^[a-z0-9]{8}$/.test(values.federation)) throw new Error('--federation is 8 characters of a-z and 0-9')
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(values.client)) throw new Error('--client is 1 to 64 characters of A-Za-z0-9._-')
    return values
  } catch (error) {
    console.error(error.message)
    process.exit(2)
  }
}

async function main(given) {
  const config = given['client-config']
  const log = new Log(given.bootstrap, access(config))
  const other = given['data-bootstrap']
  const data = other ? new Log(other, access(given['data-client-config'])) : log
  const samplesFor = async (opened) => {
    if (!given.stream) return samples(data, await announced(data, opened, numeric(given.announcement)))
    const said = {
      topic: given.stream, input_format: 'RAW', input_config: JSON.parse(given['input-config'] ?? '{}'),
      test_rate: Number(given['held-out'] ?? 0.1),
    }
    const why = misfit(said, opened)
    if (why) throw new Error(`--stream does not fit the federation: ${why}`)
    return samples(data, said)
  }
  try {
    await Promise.all([log.connect(), data === log || data.connect()])
    await new Client({
      log, samplesFor, federation: given.federation, name: given.client,
      key: given.key ? new SigningKey(readFileSync(given.key)) : null,
      packed: Number(given.packed ?? 900_000),
      patience: 1000 * Number(given.patience ?? 60),
      say: (sentence) => console.error(`${new Date().toISOString()} ${sentence}`),
    }).run()
  } finally {
    await Promise.all([log.close(), data.close()])
  }
}

const numeric = (text) => (text === undefined ? null : Number(text))

await main(options()).catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
