// Collections that have none or one of something nearly always, a hundred thousand of them: a field holds that one itself, and only more
// of them a Map, which takes 300 bytes.

/** Nothing, the one, or all by their keys. */
export type Few<K, T extends object> = T | Map<K, T> | undefined;

interface FewOf<K, T extends object> {
  get(few: Few<K, T>, key: K): T | undefined;
  /** What the field is to be with `item`, in the place of one with the same key. */
  with(few: Few<K, T>, item: T): Few<K, T>;
  without(few: Few<K, T>, key: K): Few<K, T>;
  /** A copy, in the order in which they came. */
  list(few: Few<K, T>): T[];
  size(few: Few<K, T>): number;
}

/** Those whose key is what `keyOf` says. `T` is no Map. */
export function fewOf<K, T extends object>(keyOf: (item: T) => K): FewOf<K, T> {
  return {
    get(few, key) {
      if (few instanceof Map) return few.get(key);
      return few !== undefined && keyOf(few) === key ? few : undefined;
    },
    with(few, item) {
      if (few instanceof Map) return few.set(keyOf(item), item);
      if (few === undefined || keyOf(few) === keyOf(item)) return item;
      return new Map([
        [keyOf(few), few],
        [keyOf(item), item],
      ]);
    },
    without(few, key) {
      if (few instanceof Map) {
        few.delete(key);
        return few.size === 0 ? undefined : few;
      }
      return few !== undefined && keyOf(few) === key ? undefined : few;
    },
    list: few => (few instanceof Map ? [...few.values()] : few === undefined ? [] : [few]),
    size: few => (few instanceof Map ? few.size : few === undefined ? 0 : 1),
  };
}
