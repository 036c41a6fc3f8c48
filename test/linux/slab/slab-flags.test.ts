/** Names of the flags of slab caches in kernels of each kind, made by hand. */
import { expect, it } from "vitest";
import { slabFlagNames } from "../../../src/linux/slab/slab-flags.js";
import { HandTypes } from "../../support/kernel-memory.js";

const FLAGS = (1n << 13n) | (1n << 24n) | (1n << 31n) | (1n << 40n);
const slub = () => new HandTypes().struct("kmem_cache", ["oo", "unsigned int"]);
const slab = () => new HandTypes().struct("kmem_cache", ["num", "unsigned int"]);

it("flags are those of the kernel's own enumeration, where it has one (6.9)", () => {
  const types = slub().enumeration("_slab_flag_bits", { _SLAB_PANIC: 13, _SLAB_NO_MERGE: 31 });
  expect(slabFlagNames(types, FLAGS)).toEqual(["PANIC", "1<<24", "NO_MERGE", "1<<40"]);
});

it("flags of kernels before are named by their bits, of which one was given again", () => {
  const names = ["HWCACHE_ALIGN", "NO_MERGE", "OBJECT_POISON", "1<<40"];
  expect(slabFlagNames(slub().struct("slab", ["a", "int"]), FLAGS)).toEqual(names);
  expect(slabFlagNames(slub(), FLAGS)).toEqual(["HWCACHE_ALIGN", "NOTRACK", "OBJECT_POISON", "1<<40"]);
});

it("flags that SLUB has for itself have no name where SLAB is", () => {
  expect(slabFlagNames(slab(), FLAGS)).toEqual(["HWCACHE_ALIGN", "NOTRACK", "1<<31", "1<<40"]);
});
