/**
 * Bytes by virtual address: out of memory, a raw file, the shipped kdump and another process, by size and order,
 * against memcpy and the same preads in C.
 */
import { pageGathers, valueGathers } from "../reads/gathers.js";
import { processRows } from "../reads/other-process.js";
import { scattered } from "../reads/scattered.js";
import { singles } from "../reads/singles.js";
import type { Group } from "../row.js";

export const readGroup: Group = {
  name: "reads",
  title: "Reads by virtual address",
  rows: [...singles, ...pageGathers, ...scattered, ...valueGathers, ...processRows],
};
