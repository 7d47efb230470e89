// Who wrote a record: an Ed25519 signature over its topic and the SHA-256 of its JSON, in the header `signature`.
import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'

const CONTEXT = Buffer.from('mainstem-signature-v1\0')
const VERSION = Buffer.from([1])

const sha256 = (bytes) => createHash('sha256').update(bytes).digest()

function message(topic, text) {
  const name = Buffer.from(topic)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(name.length)
  return Buffer.concat([CONTEXT, length, name, sha256(text)])
}

/** By which bytes a header begins that names this public key (43 characters of base64url). */
const prefix = (key) => Buffer.concat([VERSION, sha256(Buffer.from(key, 'base64url')).subarray(0, 16)])

/** Whether the holder of this public key wrote the record with this text into this topic. */
export function signed(header, topic, text, key) {
  const begin = prefix(key)
  if (header?.length !== begin.length + 64 || !header.subarray(0, begin.length).equals(begin)) return false
  const holder = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key }, format: 'jwk' })
  return verify(null, message(topic, text), holder, header.subarray(begin.length))
}

export class SigningKey {
  /** The key of an unencrypted PKCS #8 file. */
  constructor(pem) {
    this.private = createPrivateKey(pem)
    if (this.private.asymmetricKeyType !== 'ed25519') throw new Error('this private key is not one of Ed25519')
    this.public = createPublicKey(this.private).export({ format: 'jwk' }).x
  }

  /** The header's value, of a record with this text in this topic: the text of a packed update is its manifest. */
  header(topic, text) {
    return Buffer.concat([prefix(this.public), sign(null, message(topic, text), this.private)])
  }
}
