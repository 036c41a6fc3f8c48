import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { open } from "../../connectors/open.js";
import {
  checkOptions,
  findConnector,
  listConnectors,
  openTarget,
  parseTarget,
  registerConnector,
} from "../../connectors/registry.js";
import { readInto, SourceIo } from "../../src/io/index.js";

const parsed = (text: string) => {
  const { name, target, options } = parseTarget(text);
  return [name, target, Object.fromEntries(options)];
};

describe("name:target:key=value,…", () => {
  it.each([
    ["proc:1234", ["proc", "1234", {}]],
    ["proc:1234:write=true", ["proc", "1234", { write: "true" }]],
    ["x:a:k=1,flag,m=", ["x", "a", { k: "1", flag: true, m: "" }]],
    ["dummy", ["dummy", "", {}]],
    ["dummy::k=1", ["dummy", "", { k: "1" }]],
    ["file:C:\\dumps\\a.raw", ["file", "C:\\dumps\\a.raw", {}]],
    ["gdb:host:1234", ["gdb", "host:1234", {}]],
    ["gdb:host:1234:wait=1", ["gdb", "host:1234", { wait: "1" }]],
    ["file:/tmp/a:b=c:", ["file", "/tmp/a:b=c", {}]],
    ["file:/tmp/a:", ["file", "/tmp/a", {}]],
    ["file:/tmp/k=v", ["file", "/tmp/k=v", {}]],
    [
      "file:/tmp/a:map=0-0xc0000000@0,0x100000000-0x140000000@0xc0000000",
      ["file", "/tmp/a", { map: "0-0xc0000000@0,0x100000000-0x140000000@0xc0000000" }],
    ],
    ["file:a:map=0-3G,4G-5G,write=true", ["file", "a", { map: "0-3G,4G-5G", write: "true" }]],
    ["file:a:write=true,map=@ranges.txt", ["file", "a", { map: "@ranges.txt", write: "true" }]],
    ["file:a:write=true,4G-5G=x", ["file", "a:write=true,4G-5G=x", {}]],
  ])("%s", (text, expected) => expect(parsed(text)).toEqual(expected));

  it("any target comes back from its text with a colon after it", () => {
    fc.assert(
      fc.property(fc.string(), (target) => {
        expect(parsed(`file:${target}:`)).toEqual(["file", target, {}]);
        expect(parsed(`file:${target}:key=value`)).toEqual(["file", target, { key: "value" }]);
      }),
    );
  });

  it("an option given twice, and a name that can be none, are errors", () => {
    expect(() => parseTarget("x:y:k=1,k=2")).toThrow("x:y:k=1,k=2: option k is given twice");
    for (const text of ["", ":x", "/tmp/file", "Name:x"]) {
      expect(() => parseTarget(text)).toThrow(expect.objectContaining({ code: "BAD_TARGET" }));
    }
  });
});

describe("connectors", () => {
  it("file and proc are there, others can be added once", () => {
    expect([...listConnectors().keys()].slice(0, 2)).toEqual(["file", "proc"]);
    const connector = {
      kind: "physical" as const,
      about: "none",
      open: () => findConnector("file").open("/x", {}),
    };
    registerConnector("twice", connector);
    expect(() => registerConnector("twice", connector)).toThrow(
      expect.objectContaining({ code: "NAME_TAKEN" }),
    );
    expect(() => registerConnector("No", connector)).toThrow(expect.objectContaining({ code: "BAD_NAME" }));
  });

  it("an unknown one suggests names like it, or lists them", () => {
    expect(() => findConnector("porc")).toThrow(/did you mean proc\?/);
    expect(() => findConnector("fil")).toThrow(/did you mean file\?/);
    expect(() => findConnector("nothing-like-it")).toThrow(/there are file, proc/);
  });

  it("an unknown or ill-typed option is an error that names those there are", async () => {
    await expect(openTarget("proc:1:wirte=true")).rejects.toThrow(
      /there is no option wirte; it has write=boolean/,
    );
    await expect(openTarget("proc:1:write=maybe")).rejects.toThrow(/option write is a boolean, not "maybe"/);
    await expect(openTarget("proc:1:constructor=1")).rejects.toThrow(/no option constructor/);
  });

  it("options are read by their kind", () => {
    const connector = {
      ...findConnector("file"),
      options: {
        flag: "boolean",
        off: "boolean",
        n: "number",
        size: "size",
        text: "string",
        yes: "boolean or ranges",
        map: "boolean or ranges",
      } as const,
    };
    const { options } = parseTarget("x:y:size=0x10K,flag,off=no,n=1.5,text=a,yes,map=0-1,2-3");
    // An option list begins with key=value, so that a target's own colons are not taken for it.
    expect(checkOptions("x", connector, options)).toEqual({
      flag: true,
      off: false,
      n: 1.5,
      size: 16_384,
      text: "a",
      yes: true,
      map: "0-1,2-3",
    });
    for (const bad of ["n=x", "size=1.0001", "size=-1", "size=1Q", "n=1K", "size=9999999999T"]) {
      expect(() => checkOptions("x", connector, parseTarget(`x:y:${bad}`).options)).toThrow(
        /is a (number|size), not/,
      );
    }
  });
});

describe("a target that is opened", () => {
  const directory = mkdtempSync(join(tmpdir(), "memtool-registry-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it("gives its connector's source, with the options applied", async () => {
    const path = join(directory, "a:b=c");
    writeFileSync(path, "hello");
    const { connector, source } = await openTarget(`file:${path}:write=1`);
    expect(connector.kind).toBe("file");
    expect(source.supports.write).toBe(true);
    expect(new TextDecoder().decode(readInto(new SourceIo(source), 0, 5).sync())).toBe("hello");
    await source.close?.();
  });

  it.each(["proc", "gdb", "net"])(
    "that is missing is told, behind the name of its connector: %s",
    async (name) => {
      for (const target of [name, `${name}:`]) {
        const { message } = (await openTarget(target).catch((error) => error)) as Error;
        expect(message).toMatch(new RegExp(`^${name}: [a-z]`));
      }
    },
  );

  it("that looks like options says where those belong, without a token in it", async () => {
    await expect(openTarget("kcore:record=/tmp/session")).rejects.toThrow(
      /; options come behind a second colon: kcore::record=\/tmp\/session$/m,
    );
    const error = await openTarget("net:token=secret").catch(String);
    expect(error).toContain("options come behind a second colon: net::token=…");
    expect(error).not.toContain("secret");
    // Nothing of it where the target is none such, or was told to be one.
    for (const target of ["file:/nowhere/a=b", "file:write=1:", "file:nothing=1"]) {
      expect(await openTarget(target).catch(String)).not.toContain("second colon");
    }
  });

  it.each([
    ["proc:nosuchprogram:readonly", "; options are key=value: readonly=true"],
    ["proc:nosuchprogram:write", "; options are key=value: write=true"],
    ["proc:nosuchprogram:metrics,readonly", "; options are key=value: metrics=true,readonly=true"],
    ["proc:metrics", "; options come behind a second colon: proc::metrics=true"],
  ])("that ends with the names of options says how those are written: %s", async (target, hint) => {
    const { message } = (await openTarget(target).catch((error) => error)) as Error;
    expect(message.endsWith(hint)).toBe(true);
    await expect(open({ connector: target })).rejects.toMatchObject({ message });
  });

  it.each(["proc:nosuchprogram:cache", "proc:nosuchprogram:other,write", "proc:nosuchprogram:write:"])(
    "that ends with no such names, or was told to be one, says nothing of options: %s",
    async (target) => {
      expect(await openTarget(target).catch(String)).not.toContain("options");
    },
  );
});

describe("docs/connectors.md", () => {
  const page = readFileSync(new URL("../../docs/connectors.md", import.meta.url), "utf8");
  const blocks = [...page.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1] as string);

  it("has an example of at most 40 lines", () => {
    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) expect(block.trimEnd().split("\n").length).toBeLessThanOrEqual(40);
  });

  it("names every connector, and every one of its options", () => {
    for (const [name, { options }] of listConnectors()) {
      if (name === "twice") continue;
      expect(page).toContain(`\`${name}:`);
      for (const option of Object.keys(options ?? {})) expect(page).toContain(`\`${option}\``);
    }
  });
});
