import type { OptionKind } from "../connector.js";

/** Options of a target that are ours; all others are parameters of the device. */
export const OWN_OPTIONS: Readonly<Record<string, OptionKind>> = {
  library: "string",
  remote: "string",
  write: "boolean",
  map: "string",
  max: "size",
};
