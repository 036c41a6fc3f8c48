/** What QEMU 7.2 (Debian's) said of machines of many kinds, and what its processes had mapped: for the tests of what reads it. */
import { readFileSync } from "node:fs";

export interface RealMachine {
  readonly arguments: readonly string[];
  /** `info mtree -f`: the processors' address space, and the beginnings of two others. */
  readonly flatView: string;
  /** `gpa2hva` of where each range begins, by the address's 16 digits. */
  readonly gpa2hva: Readonly<Record<string, string>>;
  readonly backends: readonly { readonly id: string; readonly size: number }[];
  readonly devices: readonly { readonly data: { readonly addr: number; readonly size: number } }[];
  /** `info registers -a`, without floating point. */
  readonly registers?: string;
  /** /proc/PID/maps, without programs and libraries. */
  readonly maps: string;
}

const all = JSON.parse(readFileSync(new URL("qemu-7.2.json", import.meta.url), "utf8")) as Readonly<
  Record<string, RealMachine>
>;

export function real(name: string): RealMachine {
  return all[name] as RealMachine;
}

/** Every machine, but for the one of which only registers are there. */
export const REAL_MACHINES = Object.keys(all).filter((name) => name !== "q35 with Linux");
