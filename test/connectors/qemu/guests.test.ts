/** Guests that can't be opened, or not with all that belongs to them: what is told, and what to do. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openQemu } from "../../../connectors/index.js";
import { checkRights } from "../../../connectors/qemu/guest-processes.js";
import { type FakeQemu, startFakeQemu } from "./fake-qemu.js";

const folder = mkdtempSync(join(tmpdir(), "memtool-guests-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** One that has a monitor by its command line alone. */
async function using(path: string, use: (qemu: FakeQemu) => Promise<void>) {
  const qemu = await startFakeQemu({ qmp: `unix:${path}`, listens: false });
  try {
    await use(qemu);
  } finally {
    await qemu.close();
  }
}

/** A page of a process that may be written, as the option `map` names it. */
function somePage(pid: number): string {
  const line = readFileSync(`/proc/${pid}/maps`, "latin1")
    .split("\n")
    .find((each) => / rw-p .* 0 *$/.test(each));
  return `0-4K@0x${line?.split("-")[0]}`;
}

it.each(["EACCES", "EPERM"])("a guest that may not be looked into is told with who may: %s", (code) => {
  const refuse = (path: string) => {
    throw Object.assign(new Error(`${code}: permission denied, scandir '${path}'`), { code });
  };
  expect(() => checkRights("qemu:vm1", 22701, refuse)).toThrow(
    expect.objectContaining({
      code: "NO_PERMISSION",
      target: "qemu:vm1",
      message: `qemu:vm1: no permission to look into QEMU's process 22701 (${code}): run as the user that it runs as, or as root`,
    }),
  );
});

it("a guest whose monitor is at a path that can't be looked at is opened without it, and that is told", async () => {
  await using(`/${"long".repeat(100)}`, async ({ pid }) => {
    const source = await openQemu(String(pid), { map: somePage(pid) });
    expect(source.warnings?.join()).toContain("QEMU's monitor could not be asked");
    await source.close?.();
  });
});

it("a monitor that was asked for and can't be used is an error that says why, and what to say to do without", async () => {
  await using(join(folder, "other"), async ({ pid }) => {
    const qmp = join(folder, "nobody");
    await expect(openQemu(String(pid), { qmp, map: somePage(pid) })).rejects.toMatchObject({
      code: "NO_MONITOR",
      message: expect.stringMatching(/^qemu:\d+: .*nobody: .*ENOENT.* \(qmp=none asks none\)$/),
    });
  });
});

it("a guest is opened without a monitor where none is to be asked, and no warning is given of that", async () => {
  await using(join(folder, "unasked"), async ({ pid }) => {
    const source = await openQemu(String(pid), { qmp: "none", map: somePage(pid) });
    expect(source.warnings).toEqual([]);
    expect(source.remarks?.join()).toContain("QEMU's monitor is not asked (qmp=none)");
    await source.close?.();
  });
});
