// Addresses as text, the way the record writes them: IPv4 dotted, IPv6 as in RFC 5952, an IPv4 address mapped into IPv6 as IPv4.

/** Of the first four bytes. */
export function ipv4Text(bytes: Uint8Array): string {
  return bytes.subarray(0, 4).join(".");
}

/** Of the first sixteen bytes; missing ones count as 0. */
export function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, index) => (bytes[index * 2] ?? 0) * 256 + (bytes[index * 2 + 1] ?? 0));
  if (groups[5] === 0xffff && groups.slice(0, 5).every(group => group === 0)) return ipv4Text(bytes.subarray(12));
  const zeros = longestZeros(groups);
  const text = (part: number[]) => part.map(group => group.toString(16)).join(":");
  if (zeros.length < 2) return text(groups);
  return `${text(groups.slice(0, zeros.start))}::${text(groups.slice(zeros.start + zeros.length))}`;
}

/** The first of the longest runs (RFC 5952, 4.2.3). */
function longestZeros(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index - length + 1, length };
  }
  return best;
}
