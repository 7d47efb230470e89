// A multilayer perceptron on Float32Array: Keras' Dense layers with relu and a softmax, trained by SGD or Adam.

const RATES = { sgd: 0.01, adam: 0.001 }
const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-7] // Keras' own

/** Why this is no such network; null where it is. */
export function unfit(architecture, specs) {
  const dense = layersOf(architecture).filter((layer) => layer.class_name === 'Dense')
  const strange = layersOf(architecture).find((each) => !['InputLayer', 'Dense', 'Dropout'].includes(each.class_name))
  if (architecture.class_name !== 'Sequential' || strange) return `its model has a ${strange?.class_name ?? 'graph'}`
  const right = (layer, n) => layer.config.activation === (n === dense.length - 1 ? 'softmax' : 'relu')
  const plain = (layer) => layer.config.use_bias && !layer.config.kernel_regularizer && !layer.config.bias_regularizer
  if (!dense.length || !dense.every((layer, n) => right(layer, n) && plain(layer)))
    return 'its model is not of plain Dense layers with relu and a softmax at the end'
  const shapes = specs.map((spec) => `${spec.dtype} ${spec.shape.length}`).join()
  return shapes === dense.map(() => 'float32 2,float32 1').join() ? null : 'its tensors are not those of Dense layers'
}

const layersOf = (architecture) => architecture.config?.layers ?? []

/** Numbers from 0 to 1 that a seed (a whole number) determines: mulberry32. */
export function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export class Mlp {
  /** Of kernels and biases in turn, each a Float32Array that training changes. Dropout layers are left out. */
  constructor(specs, tensors) {
    this.tensors = tensors
    this.layers = specs.flatMap((spec, n) =>
      n % 2 ? [] : { kernel: tensors[n], bias: tensors[n + 1], inputs: spec.shape[0], units: spec.shape[1] },
    )
  }

  /** Each layer's outputs for these samples, the input first; the last are probabilities. */
  #forward(x, count) {
    const outputs = [x]
    this.layers.forEach(({ kernel, bias, inputs, units }, n) => {
      const [from, to] = [outputs[n], new Float32Array(count * units)]
      for (let s = 0; s < count; s++) {
        const row = to.subarray(s * units, (s + 1) * units)
        row.set(bias)
        for (let i = 0; i < inputs; i++) {
          const value = from[s * inputs + i]
          if (value !== 0) for (let j = 0; j < units; j++) row[j] += value * kernel[i * units + j]
        }
        if (n < this.layers.length - 1) for (let j = 0; j < units; j++) row[j] = Math.max(row[j], 0)
        else softmax(row)
      }
      outputs.push(to)
    })
    return outputs
  }

  /** The gradient of the mean cross entropy for each tensor. `delta` begins as that for the last layer's sums. */
  #backward(outputs, y, count) {
    const gradients = this.tensors.map((tensor) => new Float32Array(tensor.length))
    let delta = outputs.at(-1).map((probability, k) => (probability - y[k]) / count)
    for (let n = this.layers.length - 1; n >= 0; n--) {
      const { kernel, inputs, units } = this.layers[n]
      const [toKernel, toBias, from] = [gradients[2 * n], gradients[2 * n + 1], outputs[n]]
      const before = new Float32Array(count * inputs)
      for (let s = 0; s < count; s++) {
        const row = delta.subarray(s * units, (s + 1) * units)
        for (let j = 0; j < units; j++) toBias[j] += row[j]
        for (let i = 0; i < inputs; i++) {
          const value = from[s * inputs + i]
          if (value === 0) continue // of a relu that is off no gradient comes, and an input of 0 has none
          let sum = 0
          for (let j = 0; j < units; j++) {
            toKernel[i * units + j] += value * row[j]
            sum += kernel[i * units + j] * row[j]
          }
          before[s * inputs + i] = sum
        }
      }
      delta = before
    }
    return gradients
  }

  /** Loss and accuracy on samples `{x, y, count}`. */
  evaluate({ x, y, count }) {
    return measure(this.#forward(x, count).at(-1), y, count)
  }

  /** Train; how many steps it took, and loss and accuracy over the last epoch. Others have their turn between steps. */
  async train({ x, y, count }, { batch, epochs, optimizer, rate, shuffle, seed }) {
    const [step, draw] = [stepOf(optimizer, rate ?? RATES[optimizer], this.tensors), random(seed)]
    const [inputs, classes] = [this.layers[0].inputs, this.layers.at(-1).units]
    const order = Array.from({ length: count }, (_, n) => n)
    let [steps, loss, accuracy] = [0, 0, 0]
    for (let epoch = 0; epoch < epochs; epoch++) {
      ;[loss, accuracy] = [0, 0]
      for (let n = count - 1; shuffle && n > 0; n--) {
        const other = Math.floor(draw() * (n + 1))
        ;[order[n], order[other]] = [order[other], order[n]]
      }
      for (let at = 0; at < count; at += batch, steps++) {
        const taken = order.slice(at, at + batch)
        const [xs, ys] = [rows(x, inputs, taken), rows(y, classes, taken)]
        const outputs = this.#forward(xs, taken.length)
        const found = measure(outputs.at(-1), ys, taken.length)
        loss += (found.loss * taken.length) / count
        accuracy += (found.accuracy * taken.length) / count
        step(this.#backward(outputs, ys, taken.length))
        await new Promise(setImmediate)
      }
    }
    return { steps, loss, accuracy }
  }
}

function rows(values, width, taken) {
  const found = new Float32Array(taken.length * width)
  taken.forEach((row, n) => found.set(values.subarray(row * width, (row + 1) * width), n * width))
  return found
}

function softmax(row) {
  const most = row.reduce((one, other) => Math.max(one, other), -Infinity)
  let sum = 0
  for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j] - most)
  for (let j = 0; j < row.length; j++) row[j] /= sum
}

function measure(probabilities, y, count) {
  const classes = y.length / count
  const best = (row) => row.indexOf(row.reduce((one, other) => Math.max(one, other), -Infinity))
  let [loss, right] = [0, 0]
  for (let s = 0; s < count; s++) {
    const [row, label] = [probabilities, y].map((values) => values.subarray(s * classes, (s + 1) * classes))
    label.forEach((share, j) => share && (loss -= share * Math.log(Math.min(Math.max(row[j], EPSILON), 1 - EPSILON))))
    right += best(row) === best(label)
  }
  return { loss: loss / count, accuracy: right / count }
}

function stepOf(optimizer, rate, tensors) {
  if (optimizer === 'sgd')
    return (gradients) => gradients.forEach((g, n) => g.forEach((each, i) => (tensors[n][i] -= rate * each)))
  const [mean, square] = [0, 1].map(() => tensors.map((tensor) => new Float32Array(tensor.length)))
  let taken = 0
  return (gradients) => {
    const scale = (rate * Math.sqrt(1 - BETA2 ** ++taken)) / (1 - BETA1 ** taken)
    gradients.forEach((g, n) => {
      for (let i = 0; i < g.length; i++) {
        mean[n][i] += (g[i] - mean[n][i]) * (1 - BETA1)
        square[n][i] += (g[i] * g[i] - square[n][i]) * (1 - BETA2)
        tensors[n][i] -= (scale * mean[n][i]) / (Math.sqrt(square[n][i]) + EPSILON)
      }
    })
  }
}
