/** Descriptions of machines as stubs send them, and as nobody should: however long, they are read in one pass. */
import { describe, expect, it } from "vitest";
import { readDescription } from "../../../connectors/gdb/target-description.js";
import { openGdb } from "../../../connectors/index.js";
import { startStub } from "./stub.js";

const MiB = 2 ** 20;
const read = (text: string) => readDescription(async () => text);

describe("a machine's description", () => {
  it("has registers and the architecture, whatever stands between them", async () => {
    const text = `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target>
      <architecture>
        aarch64
      </architecture><!-- <reg name="no" bitsize="64"/> -->
      <feature name="core"><reg name='x0' bitsize = "64"/><reg
        bitsize="32" regnum="7" name="cpsr"></reg><regs name="none" bitsize="64"/></feature></target>`;
    expect(await read(text)).toEqual({
      architecture: "aarch64",
      registers: [
        { name: "x0", number: 0, bits: 64 },
        { name: "cpsr", number: 7, bits: 32 },
      ],
    });
  });

  it.each([
    ["comments without an end", "<!--"],
    ["tags without an end", "<reg "],
    ["an architecture that is all blanks", " ", "<architecture>"],
    ["names of attributes without values", " name", "<reg"],
    ["values without an end", " name=", '<reg name="a" bitsize="'],
  ])("of a MiB of %s is read at once, and says nothing", async (_what, part, before = "") => {
    const text = before + part.repeat(MiB / part.length);
    expect(await read(text)).toEqual({ architecture: undefined, registers: [] });
  });

  it("of a stub whose memory map is a MiB of tags without an end is none", async () => {
    const text = "<memory ".repeat(MiB / 8);
    const answers = (request: string) => {
      const object = /^qXfer:memory-map:read::([0-9a-f]+),([0-9a-f]+)$/.exec(request);
      if (object === null) return undefined;
      const from = Number.parseInt(object[1] as string, 16);
      return `m${text.slice(from, from + Number.parseInt(object[2] as string, 16))}`;
    };
    const options = { physical: true, features: "qXfer:memory-map:read+", answers };
    const stub = await startStub({ base: 0n, bytes: new Uint8Array(1), ...options });
    try {
      const opening = openGdb(`127.0.0.1:${stub.port}`, { resume: false });
      await expect(opening).rejects.toMatchObject({ code: "NO_MEMORY_MAP" });
    } finally {
      stub.close();
    }
  });
});
