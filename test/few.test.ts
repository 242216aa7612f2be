// Fields that hold none, one, or many: they say the same as a Map by its keys.
import { expect, test } from "bun:test";
import { type Few, fewOf } from "../src/trace/few.ts";
import { seededRandom } from "./seeded.ts";

interface Item {
  readonly key: number;
}

test("any steps end as with a Map", () => {
  const random = seededRandom("few");
  const items = fewOf((item: Item) => item.key);
  for (let round = 0; round < 300; round++) {
    let few: Few<number, Item>;
    const map = new Map<number, Item>();
    for (let step = 0; step < 12; step++) {
      const key = random.below(3);
      if (random.below(2) === 0) {
        const item = { key };
        few = items.with(few, item);
        map.set(key, item);
      } else {
        few = items.without(few, key);
        map.delete(key);
      }
      expect(items.list(few)).toEqual([...map.values()]);
      expect(items.size(few)).toBe(map.size);
      expect(few === undefined).toBe(map.size === 0);
      for (let i = 0; i < 3; i++) expect(items.get(few, i)).toBe(map.get(i));
    }
  }
});
