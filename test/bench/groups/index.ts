import type { Group } from "../row.js";
import { codecs } from "./codecs.js";
import { convert } from "./convert.js";
import { formats } from "./formats.js";
import { latency } from "./latency.js";
import { linux } from "./linux.js";
import { packets } from "./packets.js";
import { paging } from "./paging.js";
import { readGroup } from "./reads.js";
import { scale } from "./scale.js";
import { searchGroup } from "./search.js";
import { sources } from "./sources.js";
import { translation } from "./translation.js";

/** In the order in which they run. */
export const GROUPS: readonly Group[] = [
  packets,
  translation,
  paging,
  readGroup,
  sources,
  codecs,
  formats,
  convert,
  latency,
  scale,
  searchGroup,
  linux,
];
