import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { jsonLines, memtool } from "../support/cli.js";
import { ON_DUMP, testFolder } from "../support/cli-dump.js";

const { folder } = testFolder();

describe("memtool types", () => {
  it("prints types as C defines them, with offsets", async () => {
    const { status, out, err } = await memtool(["types", "list_head", "struct list_head *", ...ON_DUMP]);
    expect([status, err]).toEqual([0, ""]);
    expect(out).toBe(`struct list_head {
    struct list_head *next; /* 0x0 */
    struct list_head *prev; /* 0x8 */
}; /* 0x10 bytes */
struct list_head *;
`);
  });

  it("lists the names of a pattern, with kind and size", async () => {
    const { status, out } = await memtool(["types", "list_h*", ...ON_DUMP]);
    expect(status).toBe(0);
    expect(out).toBe("struct      0x10  list_head\n");
  });

  it("says members in JSON, those of members without a name among them", async () => {
    const { out } = await memtool([
      "types",
      "bpf_prog",
      "pid_type",
      "pid_t",
      "pid_typ*",
      "--json",
      ...ON_DUMP,
    ]);
    const [prog, type, pid, listed] = jsonLines(out) as Record<string, unknown>[];
    expect(prog).toMatchObject({ name: "struct bpf_prog", kind: "struct" });
    const members = prog?.members as { name: string }[];
    expect(members.find(({ name }) => name === "jit_requested")).toEqual({
      name: "jit_requested",
      offset: 2,
      bit: 1,
      bits: 1,
      size: 2,
      type: "u16",
    });
    expect(members.map(({ name }) => name)).toContain("insns");
    expect(type).toMatchObject({ kind: "enum", size: 4 });
    expect((type as { constants: unknown[] }).constants[0]).toEqual({ name: "PIDTYPE_PID", value: 0 });
    expect(pid).toEqual({ name: "pid_t", kind: "typedef", size: 4, target: "__kernel_pid_t" });
    expect(listed).toEqual({ kind: "enum", name: "pid_type", size: 4 });
  });

  it("tells of names that are not there, and prints the others", async () => {
    const { status, out, err } = await memtool(["types", "nosuch", "list_head", "no_such_*", ...ON_DUMP]);
    expect(status).toBe(3);
    expect(out).toContain("struct list_head {");
    expect(err).toContain('no type "nosuch"');
    expect(err).toContain('matches "no_such_*"');
    expect((await memtool(["types", "nosuch", ...ON_DUMP])).status).toBe(1);
  });
});

describe("memtool isf", () => {
  it("writes a file that --types takes, packed by its name; not over another without --force", async () => {
    const path = join(folder, "kernel.json.gz");
    const { status, err } = await memtool(["isf", "-o", path, ...ON_DUMP]);
    expect([status, err]).toEqual([0, ""]);
    const { metadata, user_types } = JSON.parse(gunzipSync(readFileSync(path)).toString());
    expect(metadata.producer.name).toBe("memtool");
    expect(metadata.producer.version).toBe(JSON.parse(readFileSync("package.json", "utf8")).version);
    expect(user_types.task_struct.kind).toBe("struct");
    const own = await memtool(["ps", ...ON_DUMP]);
    const given = await memtool(["ps", "--types", path, ...ON_DUMP]);
    expect(given).toEqual(own);

    writeFileSync(path, "mine");
    const refused = await memtool(["isf", "-o", path, ...ON_DUMP]);
    expect([refused.status, readFileSync(path, "utf8")]).toEqual([1, "mine"]);
    expect(refused.err).toContain("--force");
    const forced = await memtool(["isf", "-o", path, "--force", "--json", ...ON_DUMP]);
    const [said] = jsonLines(forced.out) as { path: string; size: number }[];
    expect(said).toEqual({ path, size: readFileSync(path).length, warnings: [] });
    expect(readdirSync(folder).filter((name) => name.includes("partial"))).toEqual([]);
  });

  it("without a file to write, or a place to write it, says so and leaves nothing", async () => {
    expect(await memtool(["isf", ...ON_DUMP])).toMatchObject({
      status: 2,
      err: expect.stringContaining("--output"),
    });
    expect((await memtool(["isf", "-o", "-", ...ON_DUMP])).status).toBe(2);
    const path = join(folder, "nosuch", "kernel.json");
    const { status, err } = await memtool(["isf", "-o", path, ...ON_DUMP]);
    expect([status, existsSync(path)]).toEqual([1, false]);
    expect(err).toContain("ENOENT");
  });

  it("--types with a file that has none says which, and why", async () => {
    const path = join(folder, "none");
    writeFileSync(path, "hello");
    const { status, err } = await memtool(["ps", "--types", path, ...ON_DUMP]);
    expect(status).toBe(1);
    expect(err).toContain(`${path} is neither BTF`);
  });
});
