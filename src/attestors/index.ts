// Every attestor there is, in the order in which a collection lists them.
import type { Attestor } from "./attestor.ts";
import { commandRunAttestor } from "./command-run.ts";
import { environmentAttestor } from "./environment.ts";
import { gitAttestor } from "./git.ts";
import { materialAttestor } from "./material.ts";
import { productAttestor } from "./product.ts";

export const attestors: readonly Attestor[] = [
  environmentAttestor,
  gitAttestor,
  materialAttestor,
  commandRunAttestor,
  productAttestor,
];

export const attestorNames: readonly string[] = attestors.map(attestor => attestor.name);
export const defaultAttestations: readonly string[] = attestors
  .filter(attestor => attestor.runsByDefault && !attestor.alwaysRuns)
  .map(attestor => attestor.name);
