// The material attestor, v0.3: every file that was there before the command; with a trace those that it read.
import type { Attestor } from "./attestor.ts";
import { fileTree, leafJson } from "./tree-attestation.ts";

export const materialAttestor: Attestor = {
  name: "material",
  type: "https://aflock.ai/attestations/material/v0.3",
  stage: "material",
  alwaysRuns: true,
  runsByDefault: true,
  attest(facts) {
    const tree = fileTree(facts.materials);
    const [startTime, endTime] = facts.times.material;
    return {
      type: this.type,
      // `leaves` also when empty: its absence would say "not recorded", not "none".
      predicate: { ...tree.fields, leaves: leafJson(tree) },
      subjects: [{ name: "tree:materials", digest: { sha256: tree.root } }],
      startTime,
      endTime,
    };
  },
};
