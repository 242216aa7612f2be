// Headers of rpm packages, made by hand.

/** Type 4 is 32-bit integers; 6 a text, 8 a list of them. */
export type RpmTag = [tag: number, type: number, values: (string | number)[]];

export function rpmHeader(tags: readonly RpmTag[]): Buffer {
  const entries: Buffer[] = [];
  const data: Buffer[] = [];
  let offset = 0;
  for (const [tag, type, values] of tags) {
    const bytes = Buffer.concat(
      values.map(value => {
        if (typeof value === "string") return Buffer.from(`${value}\0`, "latin1");
        const number = Buffer.alloc(4);
        number.writeUInt32BE(value);
        return number;
      }),
    );
    const entry = Buffer.alloc(16);
    for (const [i, field] of [tag, type, offset, values.length].entries()) entry.writeUInt32BE(field, i * 4);
    entries.push(entry);
    data.push(bytes);
    offset += bytes.length;
  }
  const head = Buffer.alloc(8);
  head.writeUInt32BE(entries.length, 0);
  head.writeUInt32BE(offset, 4);
  return Buffer.concat([head, ...entries, ...data]);
}
