/** Capabilities of the committed dump's processes against their /proc/PID/status. */
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it } from "vitest";
import type { Truth } from "../../../fixtures/vm/truth.mjs";
import {
  CAPABILITIES,
  capabilityNames,
  type Damage,
  listCapabilities,
  listTasks,
} from "../../../src/linux/index.js";
import { offsetOf } from "../../../src/linux/objects/record.js";
import { PatchedKernel } from "../../support/patched-kernel.js";

const DUMP = "fixtures/linux-6.1-x86_64.kdump";
const TRUTH: Truth = JSON.parse(readFileSync("fixtures/linux-6.1-x86_64.truth.json", "utf8"));

function fact(status: string, name: string): bigint {
  return BigInt(`0x${new RegExp(`^${name}:\\t([0-9a-f]+)$`, "m").exec(status)?.[1]}`);
}

describe("capabilities", () => {
  let patched: PatchedKernel;
  afterEach(() => patched?.close());

  it("are those of every process's status", async () => {
    patched = await PatchedKernel.open(DUMP);
    const found = await listCapabilities(patched.kernel).toArray();
    const known = TRUTH.processes.filter(({ status }) => status !== undefined && status !== "");
    expect(known.length).toBeGreaterThan(30);
    for (const { pid, status = "" } of known) {
      expect(found.find((each) => each.pid === pid)).toMatchObject({
        tgid: pid,
        inheritable: fact(status, "CapInh"),
        permitted: fact(status, "CapPrm"),
        effective: fact(status, "CapEff"),
        bounding: fact(status, "CapBnd"),
        ambient: fact(status, "CapAmb"),
      });
    }
  });

  it("have each bit's name, which are all that the kernel knows", async () => {
    patched = await PatchedKernel.open(DUMP);
    const [init] = await listCapabilities(patched.kernel, { pid: 1 }).toArray();
    expect(capabilityNames(init?.bounding ?? 0n)).toEqual(CAPABILITIES);
    // CAP_NET_RAW is 13, CAP_SYS_ADMIN 21; 63 is none.
    expect(capabilityNames((1n << 13n) | (1n << 21n) | (1n << 63n))).toEqual(["net_raw", "sys_admin", "63"]);
  });

  it("are unknown for a process whose credentials are nowhere, which is told; the others keep theirs", async () => {
    patched = await PatchedKernel.open(DUMP);
    const [init] = await listTasks(patched.kernel, { pid: 1 }).toArray();
    const types = await patched.kernel.types();
    const wild = 0xffff_dead_0000_0000n;
    await patched.setPointer(
      (init?.address ?? 0n) + BigInt(offsetOf(types, "task_struct", "real_cred")),
      wild,
    );
    const told: Damage[] = [];
    const found = await listCapabilities(patched.kernel, { onDamage: (each) => told.push(each) }).toArray();
    expect(found.find(({ pid }) => pid === 1)).toMatchObject({ comm: "init", permitted: undefined });
    expect(found.filter(({ permitted }) => permitted === undefined)).toHaveLength(1);
    expect(told.every(({ address, reason }) => address === wild && reason === "unreadable")).toBe(true);
    expect(told.length).toBeGreaterThan(0);
  });
});
