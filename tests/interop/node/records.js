// Records as bytes: the grammar of docs/protocol.md section 3, and the types, bounds and defaults of schema.json.
import { readFileSync } from 'node:fs'

const RECORD_BYTES = 8_388_608
export const PAGED_BYTES = 67_108_864
const DEEPEST = 64
const SCHEMA = JSON.parse(readFileSync(new URL('../../vectors/schema.json', import.meta.url), 'utf8')).$defs

/** A record that counts for nothing. */
export class Malformed extends Error {}

const must = (holds, why) => {
  if (!holds) throw new Malformed(why)
}

/** The object in these bytes. Integers are numbers; what has a fraction or an exponent is a Number object until `fit`. */
export function parse(bytes, longest = RECORD_BYTES) {
  must(bytes && bytes.length <= longest, 'it is empty or too long')
  let text
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    JSON.parse(text) // the syntax; what JavaScript lets through beyond it is refused below
  } catch (error) {
    throw new Malformed(`it is no JSON in UTF-8: ${error.message}`)
  }
  let at = 0
  const space = () => {
    while (' \t\n\r'.includes(text[at] ?? '-')) at++
  }
  const string = () => {
    const start = at++
    while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
    const found = JSON.parse(text.slice(start, ++at))
    must(found.isWellFormed(), 'it has a lone surrogate')
    return found
  }
  const number = (token) => {
    if (!/[.eE]/.test(token)) {
      must(Number.isSafeInteger(Number(token)), `its integer ${token.slice(0, 40)} is beyond 2^53 - 1`)
      return Number(token)
    }
    must(Number.isFinite(Number(token)), `its number ${token.slice(0, 40)} is beyond 64 bits`)
    return new Number(token)
  }
  const several = (end, one) => {
    for (at++, space(); text[at] !== end; space()) {
      one()
      space()
      if (text[at] === ',') at++
      space()
    }
    at++
  }
  const value = (depth) => {
    must(depth <= DEEPEST, `it nests more than ${DEEPEST} deep`)
    space()
    if (text[at] === '"') return string()
    if (text[at] === '[') {
      const list = []
      several(']', () => list.push(value(depth + 1)))
      return list
    }
    if (text[at] === '{') {
      const found = Object.create(null)
      several('}', () => {
        const name = string()
        must(!(name in found), `it has two fields ${name.slice(0, 40)}`)
        space()
        at++ // the colon
        found[name] = value(depth + 1)
      })
      return found
    }
    const token = /[^\s,\]}]+/y
    token.lastIndex = at
    const [found] = token.exec(text)
    at += found.length
    return ['true', 'false', 'null'].includes(found) ? JSON.parse(found) : number(found)
  }
  return value(1)
}

/** What was parsed, by a schema: unknown fields left out, defaults filled in. */
export function fit(value, schema, at = 'it') {
  if (schema.$ref) return fit(value, SCHEMA[schema.$ref.split('/').at(-1)], at)
  if (schema.discriminator) {
    const known = typeof value?.type === 'string' && schema.discriminator.mapping[value.type]
    must(known, 'it is of no type that is known here')
    return fit(value, { $ref: known }, at)
  }
  if (schema.anyOf) {
    const fitting = schema.anyOf.find((each) => fits(value, each))
    must(fitting, `${at} is none of what it may be`)
    return fit(value, fitting, at)
  }
  must(!('const' in schema) || value === schema.const, `${at} must be ${schema.const}`)
  must(!schema.enum || schema.enum.includes(value), `${at} must be one of ${schema.enum}`)
  switch (schema.type) {
    case 'integer':
      must(Number.isSafeInteger(value), `${at} is no integer`)
      return within(value, schema, at)
    case 'number':
      must(typeof value === 'number' || value instanceof Number, `${at} is no number`)
      return within(Number(value), schema, at)
    case 'string': {
      must(typeof value === 'string', `${at} is no text`)
      const length = [...value].length
      must(length >= (schema.minLength ?? 0) && length <= (schema.maxLength ?? Infinity), `${at} is too short or long`)
      must(!schema.pattern || new RegExp(schema.pattern, 'u').test(value), `${at} is not as it must be`)
      return value
    }
    case 'boolean':
    case 'null':
      must(schema.type === 'null' ? value === null : typeof value === 'boolean', `${at} is no ${schema.type}`)
      return value
    case 'array': {
      const { items, prefixItems: places } = schema
      must(Array.isArray(value), `${at} is no list`)
      const { minItems: least = 0, maxItems: most = Infinity } = schema
      must(value.length >= least && value.length <= most, `${at} is too short or long`)
      const known = places ? value.slice(0, places.length) : value // what comes after them is as an unknown field
      return known.map((each, n) => fit(each, places?.[n] ?? items ?? {}, `${at}[${n}]`))
    }
    case 'object':
      must(value !== null && Object.getPrototypeOf(value) === null, `${at} is no object`)
      return schema.properties ? struct(value, schema, at) : mapping(value, schema, at)
  }
  return plain(value)
}

function fits(value, schema) {
  try {
    fit(value, schema)
    return true
  } catch (error) {
    if (error instanceof Malformed) return false
    throw error
  }
}

function within(value, { minimum = -Infinity, maximum = Infinity, exclusiveMaximum: below = Infinity }, at) {
  must(value >= minimum && value <= maximum && value < below, `${at} is out of bounds`)
  return value
}

function struct(value, schema, at) {
  for (const name of schema.required ?? []) must(name in value, `${at} has no ${name}`)
  const found = {}
  for (const [name, field] of Object.entries(schema.properties)) {
    if (name in value) found[name] = fit(value[name], field, name)
    else if ('default' in field) found[name] = fit(parse(Buffer.from(JSON.stringify(field.default))), field, name)
  }
  return found
}

function mapping(value, schema, at) {
  const names = Object.keys(value)
  must(names.length <= (schema.maxProperties ?? Infinity), `${at} has too many names`)
  return Object.fromEntries(
    names.map((name) => {
      if (schema.propertyNames) fit(name, { type: 'string', ...schema.propertyNames }, `a name in ${at}`)
      return [name, fit(value[name], schema.additionalProperties ?? {}, name)]
    }),
  )
}

const plain = (value) => JSON.parse(JSON.stringify(value))

/** A record of the control topic, by its schema; likewise one of the aggregator topic. */
export const control = (bytes, longest) => fit(parse(bytes, longest), SCHEMA.control_record)
export const client = (bytes) => fit(parse(bytes), SCHEMA.client_record)

/** The bytes of a record that this client writes. */
export const encode = (type, fields) => Buffer.from(JSON.stringify({ type, schema: 1, ...fields }))
