// The material attestor, v0.3: every file that was there before the command.
import type { Attestor } from "./attestor.ts";
import { leafJson, leavesOf, treeOf } from "./tree-attestation.ts";

export const materialAttestor: Attestor = {
  name: "material",
  type: "https://aflock.ai/attestations/material/v0.3",
  stage: "material",
  alwaysRuns: true,
  runsByDefault: true,
  attest(facts) {
    const leaves = leavesOf(facts.before.files);
    const { root, fields } = treeOf(leaves);
    const [startTime, endTime] = facts.times.material;
    return {
      type: this.type,
      // `leaves` also when empty: its absence would say "not recorded", not "none".
      predicate: { ...fields, leaves: leafJson(leaves) },
      subjects: [{ name: "tree:materials", digest: { sha256: root } }],
      startTime,
      endTime,
    };
  },
};
