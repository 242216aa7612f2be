// Standard base64 as DSSE needs it. Node's decoder skips what it does not know and reads the URL alphabet as well: many
// texts would then be one signature. Here one text and only one stands for some bytes, but for CR and LF, which the
// existing decoders skip wherever they are (wire-formats 1.1).

/** The bytes, or undefined where the text is not base64 with its padding. */
export function decodeBase64(text: string): Uint8Array | undefined {
  const compact = /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, "") : text;
  if (compact.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(compact)) return undefined;
  // The bits of the last character that stand for nothing must be zero.
  const tail = compact.slice(-4);
  if (Buffer.from(tail, "base64").toString("base64") !== tail) return undefined;
  return Buffer.from(compact, "base64");
}
