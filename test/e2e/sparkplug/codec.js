// Decodes a payload per line, base64 to JSON; a line that begins with E is JSON
// to be encoded. Whole numbers beyond a double come as texts.
'use strict'
const path = require('path')
const home = process.argv[2]
const codec = require(path.join(home, 'node_modules', 'sparkplug-payload')).get('spBv1.0')
const plain = (k, v) => {
  if (v && typeof v === 'object' && typeof v.low === 'number' && typeof v.high === 'number') {
    const n = BigInt.asIntN(64, (BigInt(v.high) << 32n) | BigInt(v.low >>> 0))
    return n > BigInt(Number.MAX_SAFE_INTEGER) || n < -BigInt(Number.MAX_SAFE_INTEGER) ? n.toString() : Number(n)
  }
  return v
}
require('readline').createInterface({ input: process.stdin }).on('line', line => {
  let out
  try {
    if (line[0] === 'E') {
      out = { encoded: Buffer.from(codec.encodePayload(JSON.parse(line.slice(1)))).toString('base64') }
    } else {
      out = codec.decodePayload(Buffer.from(line, 'base64'))
      // The codec turns is_null into the value null; a value that lacks is undefined.
      for (const m of out.metrics || []) m.isNull = m.value === null
    }
  } catch (e) {
    out = { error: String(e) }
  }
  process.stdout.write(JSON.stringify(out, plain) + '\n')
})
