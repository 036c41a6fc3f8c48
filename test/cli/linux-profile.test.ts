/** What the command says of profiles that are kept, and of symbols that a dump has lost. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { convert, open } from "../../connectors/index.js";
import { memtool } from "../support/cli.js";
import { DUMP, ON_DUMP, testFolder } from "../support/cli-dump.js";

const { folder } = testFolder();
const BUILD = "3b43fad5034874490492495d552c0af6a5fab235";

/** A cache of profiles, and what runs the command with it. */
function newCache() {
  const cache = mkdtempSync(join(folder, "cache-"));
  const profiles = join(cache, "profiles");
  mkdirSync(profiles);
  const env = { MEMTOOL_CACHE: profiles };
  return {
    profiles,
    profile: join(profiles, `${BUILD}.profile`),
    run: (...args: string[]) => memtool(args, { env }),
  };
}

const note =
  "memtool: what the cache has of this kernel is damaged, or another version's: it is not used, and made again\n";

describe("a profile that is not used", () => {
  it("is told, also by a command that fails, and made again", async () => {
    const { profiles, profile, run } = newCache();
    const first = await run("banner", ...ON_DUMP);
    expect([first.status, first.err]).toEqual([0, ""]);
    const types = await run("types", "list_head", ...ON_DUMP);
    expect([types.status, types.err]).toEqual([0, ""]);
    expect(readdirSync(profiles)).toEqual([`${BUILD}.profile`]);
    const kept = readFileSync(profile);
    truncateSync(profile, 1000);
    const torn = await run("types", "list_head", ...ON_DUMP);
    expect([torn.status, torn.err]).toEqual([0, note]);
    expect(torn.out).toBe(types.out);
    expect(Buffer.compare(readFileSync(profile), kept)).toBe(0);
    truncateSync(profile, 1000);
    const failed = await run("types", "no_such_type", ...ON_DUMP);
    expect(failed.status).toBe(1);
    expect(failed.err).toContain(note);
    const again = await run("types", "list_head", ...ON_DUMP);
    expect([again.status, again.out, again.err]).toEqual([0, types.out, ""]);
  });

  it.each([
    [["read", "linux_banner"], 0, ""],
    [["symbols", "init_task"], 0, ""],
    [["read", "no_such_symbol"], 1, 'memtool: no kernel symbol "no_such_symbol"'],
    [["translate", "0", "--pid", "4000000"], 1, "memtool: there is no process 4000000"],
  ])("is told by %j, once, before why it fails", async (args, wanted, error) => {
    const { profile, run } = newCache();
    writeFileSync(profile, "none");
    const { status, err } = await run(...args, ...ON_DUMP);
    expect([status, err.slice(0, note.length + error.length)]).toEqual([wanted, note + error]);
    expect(err.split(note)).toHaveLength(2);
  });
});

describe("symbols that a dump has lost", () => {
  const path = join(folder, "blank.elf");
  const damage =
    /^memtool: kallsyms_offsets: 1024 of \d+ symbols have no address \(from number \d+ on\), as the dump has zeros there; they are missing$/m;

  beforeAll(async () => {
    const machine = await open(DUMP);
    let page: Uint8Array;
    try {
      await convert(machine, path, { vmcoreinfo: "note" });
      const linux = await machine.linux();
      const at = linux.vmcoreinfo.symbols.get("kallsyms_offsets") as bigint;
      page = await linux.memory.read((at / 4096n + 20n) * 4096n, 4096);
    } finally {
      await machine.close();
    }
    const bytes = readFileSync(path);
    const where = bytes.indexOf(page);
    expect(where).toBeGreaterThan(0);
    writeFileSync(path, bytes.fill(0, where, where + 4096));
  });

  it("are told, with status 3; nothing is kept of them, and what was kept of a whole dump stands in", async () => {
    const { profiles, run } = newCache();
    const lost = await run("ps", "-f", path);
    expect(lost.status).toBe(3);
    expect(lost.err).toMatch(damage);
    expect(readdirSync(profiles)).toEqual([]);
    // What was kept of a whole dump stands in.
    const whole = await run("ps", ...ON_DUMP);
    expect(lost.out).toBe(whole.out);
    expect(await run("ps", "-f", path)).toEqual(whole);
  });

  it("are told by those who list or look for one that is not there", async () => {
    const { run } = newCache();
    const symbol = await run("symbols", "init_task", "-f", path);
    expect([symbol.status, symbol.err]).toEqual([0, ""]);
    const all = await run("symbols", "*", "-f", path);
    expect(all.status).toBe(3);
    expect(all.err).toMatch(damage);
    const none = await run("symbols", "no_such_symbol", "-f", path);
    expect(none.status).toBe(1);
    expect(none.err).toContain("symbols have no address");
  });
});
