/** What the tests of the packet core share. */
import { Scheduler, SourceIo } from "../../src/index.js";
import { memorySource } from "../suite/index.js";

/** A byte that counts up and wraps. */
export const counted = (length = 4096) => Uint8Array.from({ length }, (_, i) => i & 255);
/** A source over such bytes. */
export const open = (options: Parameters<typeof memorySource>[1] = {}, scheduler = new Scheduler()) =>
  new SourceIo(memorySource(counted(), options), scheduler);

/** Lets microtasks pass. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

/** Something to wait for, and what ends the wait. */
export function gate(): { wait: () => Promise<void>; open: () => void } {
  let release: () => void = () => {};
  const opened = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { wait: () => opened, open: release };
}
