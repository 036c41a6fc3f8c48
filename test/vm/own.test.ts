/**
 * memtool inside a guest, on the kernel that it runs on: `kcore` and `devmem` as root of a Debian machine has them. Judges: what the guest's
 * own programs and /proc say there.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bootOwn, type OwnGuest, type OwnResult } from "../../fixtures/vm/own.mjs";
import { jsonLines } from "../support/cli.js";

const LOCK = "> /sys/kernel/security/lockdown";
const COMMANDS = {
  version: "cat /proc/version",
  "busybox ps": "busybox ps -o pid,ppid,comm",
  ps: "memtool ps -c kcore --json",
  "busybox ps later": "busybox ps -o pid,ppid,comm",
  info: "memtool info -c kcore --json",
  iomem: "grep 'System RAM' /proc/iomem",
  kallsyms: "grep -E ' (init_task|linux_banner|jiffies|schedule)$' /proc/kallsyms",
  symbols: "memtool symbols init_task linux_banner jiffies schedule -c kcore --json",
  banner: "memtool read linux_banner --length 64 --format raw -c kcore",
  watch: "memtool watch jiffies --type u64 --every 100ms --count 3 -c kcore --json",
  write: "memtool write jiffies 00 --write -c kcore",
  record: "memtool ps -c kcore::record=/tmp/ps.rec --json",
  replay: "memtool ps -c kcore::replay=/tmp/ps.rec --json",
  "a process": `memtool read "$(memtool vmas --pid 1 -c kcore --json | head -n 1 | grep -o '"start":"[^"]*"' | cut -d '"' -f 4)" --pid 1 --length 4 --format raw -c kcore`,
  devmem: "memtool info -c devmem",
  "locked devmem": `echo integrity ${LOCK}; memtool info -c devmem`,
  "kcore where writes are locked": "memtool read linux_banner --length 13 --format raw -c kcore",
  "locked kcore": `echo confidentiality ${LOCK}; memtool ps -c kcore`,
} as const;

describe("memtool in a Debian guest, as root", () => {
  let guest: OwnGuest;
  const ran = (name: keyof typeof COMMANDS): OwnResult => {
    const result = guest.results.get(name);
    if (result === undefined) throw new Error(`"${name}" was not run`);
    return result;
  };
  /** What a command printed that went well. */
  const out = (name: keyof typeof COMMANDS): string => {
    const { out, error, status } = ran(name);
    expect({ error, status }).toEqual({ error: "", status: 0 });
    return out;
  };
  /** `pid ppid` of each process that was there the whole time. */
  const staying = () => {
    const rows = (name: keyof typeof COMMANDS) =>
      out(name)
        .trim()
        .split("\n")
        .slice(1)
        .map((line) => line.trim().split(/\s+/, 2).join(" "));
    const later = new Set(rows("busybox ps later"));
    return rows("busybox ps").filter((row) => later.has(row));
  };
  beforeAll(async () => {
    guest = await bootOwn(COMMANDS, { log: console.log, timeout: 480_000 });
  });
  afterAll(() => guest?.close());

  it.each(["ps", "record", "replay"] as const)("%s lists the processes that are there", (name) => {
    const ours = jsonLines(out(name)).map(({ pid, ppid }) => `${pid} ${ppid}`);
    expect(staying().length).toBeGreaterThan(30);
    expect(ours).toEqual(expect.arrayContaining(staying()));
  });

  it("a recording is of the session that was recorded", () => {
    expect(out("replay")).toBe(out("record"));
  });

  it("info has the kernel's ranges of RAM, and its version", () => {
    const [info] = jsonLines(out("info")) as { ranges?: { start: string; end: string }[] }[];
    expect(out("version")).toContain(
      `Linux version ${(info as { kernel?: { release?: string } }).kernel?.release}`,
    );
    const whole = [...out("iomem").matchAll(/^([0-9a-f]+)-([0-9a-f]+) : /gm)].map(
      ([, first, last]) =>
        [
          Math.ceil(Number(`0x${first}`) / 4096) * 4096,
          Math.floor((Number(`0x${last}`) + 1) / 4096) * 4096,
        ] as const,
    );
    expect(info?.ranges?.map(({ start, end }) => [Number(start), Number(end)])).toEqual(whole);
  });

  it("symbols are where /proc/kallsyms has them", () => {
    const theirs = out("kallsyms")
      .trim()
      .split("\n")
      .map((line) => line.split(/\s+/))
      .map(([address, , name]) => `${name} ${BigInt(`0x${address}`)}`);
    const ours = jsonLines(out("symbols")).map(({ name, address }) => `${name} ${BigInt(String(address))}`);
    expect(theirs.length).toBeGreaterThanOrEqual(4);
    expect(ours.sort()).toEqual(theirs.sort());
  });

  it("reads the kernel's text and a process's", () => {
    expect(out("version").slice(0, 64)).toBe(out("banner"));
    expect(out("a process")).toBe("\x7fELF");
  });

  it("watch sees the clock go on", () => {
    const values = jsonLines(out("watch")).map(({ value }) => BigInt(String(value)));
    expect(values.length).toBe(3);
    expect(values.every((value, i) => i === 0 || value > (values[i - 1] as bigint))).toBe(true);
  });

  it("nothing can be written", () => {
    expect(ran("write")).toMatchObject({ out: "", error: expect.stringMatching(/kcore.*(read-only|write)/) });
    expect(ran("write").status).not.toBe(0);
  });

  it("devmem says that this kernel keeps RAM to itself, and what to try", () => {
    expect(ran("devmem")).toMatchObject({
      out: "",
      error: expect.stringMatching(/STRICT_DEVMEM.*kcore/),
      status: 1,
    });
  });

  it("lockdown is named where it is why, and only then", () => {
    expect(ran("locked devmem").error).toMatch(/^memtool: devmem: the kernel is locked down \(integrity/);
    expect(out("kcore where writes are locked")).toBe("Linux version");
    const locked = ran("locked kcore");
    expect(locked).toMatchObject({ out: "", status: 1 });
    expect(locked.error).toMatch(/^memtool: kcore: the kernel is locked down \(confidentiality/);
  });
});
