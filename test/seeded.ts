// Random input that can be repeated: each run prints its seed, CILOCK_FUZZ_SEED repeats it, CILOCK_FUZZ_ROUNDS makes it longer.

export const seed = Number(process.env.CILOCK_FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
export const rounds = Number(process.env.CILOCK_FUZZ_ROUNDS ?? 300);

export interface Random {
  /** An integer from 0 up to, not including, `below`. */
  below(below: number): number;
  pick<T>(from: readonly T[]): T;
}

/** `name`: each use has numbers of its own. */
export function seededRandom(name: string): Random {
  console.log(`${name}: CILOCK_FUZZ_SEED=${seed}`);
  let state = seed;
  for (const character of name) state = (Math.imul(state, 31) + character.charCodeAt(0)) >>> 0;
  return randomOf(state);
}

/** The same numbers for the same seed. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  const below = (limit: number) => Math.floor((next() / 2 ** 32) * limit);
  return {
    below,
    pick(from) {
      const found = from[below(from.length)];
      if (found === undefined) throw new Error("nothing to pick from");
      return found;
    },
  };
}

/** The bytes with some changed, taken away, or doubled. */
export function mutated(bytes: Buffer, random: Random): Buffer {
  let result = Buffer.from(bytes);
  for (let change = 0; change <= random.below(4); change++) {
    const at = random.below(result.length + 1);
    const length = random.below(16);
    switch (random.below(4)) {
      case 0:
        if (at < result.length) result[at] = random.below(256);
        break;
      case 1:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + length)]);
        break;
      case 2:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at, at + length), result.subarray(at)]);
        break;
      default:
        if (at + 4 <= result.length) result.writeUInt32BE(random.pick([0, 1, 0x7fffffff, 0xffffffff, result.length]), at);
    }
  }
  return result;
}
