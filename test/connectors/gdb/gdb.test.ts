/** Stubs of every kind: honest ones through the suite of all sources, and those that lie. */
import { spawn } from "node:child_process";
import { createServer, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { openGdb } from "../../../connectors/gdb/gdb.js";
import { open } from "../../../connectors/open.js";
import { openTarget } from "../../../connectors/registry.js";
import {
  DEVICE_CODE,
  type FaultState,
  faultDetail,
  readInto,
  readPartial,
  SourceIo,
  WouldBlockError,
} from "../../../src/io/index.js";
import { sourceSuite } from "../../suite/source/index.js";
import { pattern } from "../../support/bytes.js";
import { type Stub, type StubOptions, startStub } from "./stub.js";

const BASE = 0xffff_8880_0010_0f00n;
/** Bytes from a page's beginning to another's, one page of which the stub refuses. */
const BAD = { start: 0x1100, end: 0x2100 };

function suiteOf(
  name: string,
  extra: Partial<StubOptions>,
  target: (port: number) => string,
  physical: boolean,
): void {
  const base = physical ? 0x10_0f00n : BASE;
  sourceSuite(name, async () => {
    const bytes = pattern(0x3100, 7);
    const stub = await startStub({ base, bytes, bad: [BAD], physical, ...extra });
    const { source } = await openTarget(target(stub.port));
    return {
      source,
      base: physical ? Number(base) : base,
      truth: () => bytes,
      bad: [{ ...BAD, state: "io" as FaultState }],
      writable: true,
      vanish: () => stub.close(),
      close: () => stub.close(),
    };
  });
}

suiteOf(
  "a stub with acknowledgements, one request at a time, runs, and packets of 200 bytes",
  { packetSize: 200, runs: true },
  (port) => `gdb:127.0.0.1:${port}:write=true,resume=false`,
  false,
);
suiteOf(
  "a stub of physical memory, without acknowledgements, many requests and 64 KiB at a time, as bytes",
  { packetSize: 0x2_0000, features: "QStartNoAckMode+;binary-upload+" },
  (port) => `gdb:127.0.0.1:${port}:write=true,resume=false,map=0x100f00-0x104000`,
  true,
);

async function using(options: Partial<StubOptions>, use: (stub: Stub) => Promise<void>): Promise<void> {
  const stub = await startStub({ base: 0n, bytes: pattern(0x4000, 3), ...options });
  try {
    await use(stub);
  } finally {
    stub.close();
  }
}

/** Memory whose bytes are the low ones of their addresses. Prints its port. */
const SMALL_STUB = `
const frame = (data) => "$" + data + "#" + ([...data].reduce((sum, c) => sum + c.charCodeAt(0), 0) & 255).toString(16).padStart(2, "0");
const server = require("net").createServer((socket) => {
  let text = "";
  socket.setNoDelay(true).on("error", () => {}).on("data", (bytes) => {
    text += bytes;
    for (let match; (match = /[$]([^#]*)#../.exec(text)); text = text.slice(match.index + match[0].length)) {
      const read = /^m([0-9a-f]+),([0-9a-f]+)$/.exec(match[1]);
      const bytes = read && Buffer.from(Array.from({ length: parseInt(read[2], 16) }, (_, i) => parseInt(read[1], 16) + i));
      socket.write("+" + frame(bytes === null ? "" : bytes.toString("hex")));
    }
  });
}).listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

const QUIET = { resume: false } as const;
const X86 = {
  "features:target.xml":
    '<?xml version="1.0"?><target><architecture>i386:x86-64</architecture><xi:include href="core.xml"/><xi:include href="target.xml"/></target>',
  "features:core.xml":
    '<feature name="core"><!-- <reg name="no" bitsize="64"/> --><reg name="rax" bitsize="64"/><reg name="rip" bitsize="64" type="code_ptr"/><reg name="eflags" bitsize="32"/>' +
    '<reg name="cr0" bitsize="64" regnum="40"/><reg name="cr3" bitsize="64"/><reg name="cr4" bitsize="64"/><reg name="efer" bitsize="64"/></feature>',
};
const little = (value: bigint) => Buffer.from(new BigUint64Array([value]).buffer).toString("hex");

describe("a machine behind a stub", () => {
  it("tells the registers of every processor, and so its paging", async () => {
    let thread = 1;
    const answers = (request: string) => {
      if (request === "qfThreadInfo") return "m1,2";
      if (request === "qsThreadInfo") return "l";
      const chosen = /^Hg(.*)$/.exec(request)?.[1];
      if (chosen !== undefined) thread = Number(chosen);
      if (request === "g") return `${little(BigInt(thread))}${little(0xffff_ffff_8100_0000n)}46020000`;
      const values: Record<string, bigint> = {
        p28: 0x8005_0033n,
        p29: 0x1000n * BigInt(thread),
        p2a: 0x6f0n,
        p2b: 0xd01n,
      };
      return request in values ? little(values[request] as bigint) : undefined;
    };
    const options = { answers, objects: X86, features: "qXfer:features:read+", physical: true };
    await using(options, async ({ port }) => {
      const target = { connector: `gdb:127.0.0.1:${port}:resume=false,map=0-0x4000` };
      const machine = await open(target, { kernel: "none" });
      expect(machine.notes).toEqual({
        architecture: "x86_64",
        cpus: [1n, 2n].map((n, pid) => ({
          pid,
          registers: {
            rax: n,
            rip: 0xffff_ffff_8100_0000n,
            rflags: 0x246n,
            cr0: 0x8005_0033n,
            cr3: 0x1000n * n,
            cr4: 0x6f0n,
            efer: 0xd01n,
          },
        })),
      });
      expect(machine.paging).toMatchObject({ mmu: { name: "x86-64" }, source: "registers of CPU 0" });
      expect(machine.dumpRoots.map(({ root }) => root)).toEqual([0x1000, 0x2000]);
      await machine.close();
    });
  });

  it("has virtual memory where the stub knows no other, and the machine says so", async () => {
    await using({ base: BASE }, async ({ port }) => {
      const machine = await open({ connector: `gdb:127.0.0.1:${port}:resume=false` });
      expect(machine.physical).toBeUndefined();
      expect(machine.format).toBe("virtual");
      expect(machine.remarks.join()).toContain("memory=physical");
      expect(await machine.memory.read(BASE, 8)).toEqual(pattern(8, 3));
      await machine.close();
    });
  });

  it("has physical memory where somebody says so, or the stub can be told", async () => {
    const map = { map: "0-0x4000", ...QUIET };
    await using({}, async ({ port }) => {
      expect((await openGdb(`127.0.0.1:${port}`, { memory: "physical", ...map })).kind).toBe("physical");
    });
    await using({ physical: true }, async ({ port, requests }) => {
      const source = await openGdb(`127.0.0.1:${port}`, map);
      expect(source.kind).toBe("physical");
      expect(requests).toContain("Qqemu.PhyMemMode:1");
      await source.close?.();
    });
  });

  it("has RAM where the stub's memory map or its monitor says, else somebody has to", async () => {
    const xml =
      '<memory-map><memory type="rom" start="0" length="0x100"/><memory type="ram" start="0x1000" length="0x2000"/></memory-map>';
    const told = { physical: true, features: "qXfer:memory-map:read+", objects: { "memory-map:": xml } };
    await using(told, async ({ port }) => {
      const source = await openGdb(`127.0.0.1:${port}`, QUIET);
      expect([...source.ranges()]).toEqual([{ start: 0x1000, end: 0x3000 }]);
    });
    await using({ physical: true }, async ({ port }) => {
      await expect(openGdb(`127.0.0.1:${port}`, QUIET)).rejects.toMatchObject({
        code: "NO_MEMORY_MAP",
        message: expect.stringContaining("give map=0-2G"),
      });
    });
  });

  it("is resumed in the end, unless that is not wanted", async () => {
    await using({}, async ({ port, requests }) => {
      const source = await openGdb(`127.0.0.1:${port}`);
      await Promise.all([source.close?.(), source.close?.()]);
      expect(requests.filter((request) => request === "D")).toEqual(["D"]);
      await (await openGdb(`127.0.0.1:${port}`, QUIET)).close?.();
      expect(requests.filter((request) => request === "D")).toEqual(["D"]);
    });
  });

  it("is told to be halted still where its stub does not let it go, with what to do", async () => {
    const refuses = { answers: (request: string) => (request === "D" ? "E01" : undefined) };
    const stillPaused =
      /the machine is still paused: resume it, in gdb with "target remote .* and "detach" .*"E01"/;
    await using(refuses, async ({ port }) => {
      const source = await openGdb(`127.0.0.1:${port}`);
      await expect(source.close?.()).rejects.toMatchObject({
        code: "STILL_FROZEN",
        message: expect.stringMatching(stillPaused),
      });
    });
    // Also where it can't be opened in the first place.
    await using({ ...refuses, physical: true }, async ({ port }) => {
      await expect(openGdb(`127.0.0.1:${port}`)).rejects.toMatchObject({
        code: "STILL_FROZEN",
        message: expect.stringMatching(new RegExp(`give map=0-2G; and ${stillPaused.source}`)),
      });
    });
  });

  it("is told to be halted still from a thread of its own, too", async () => {
    await using({ answers: (request) => (request === "D" ? "E01" : undefined) }, async ({ port }) => {
      const { source } = await openTarget(`gdb:127.0.0.1:${port}:worker=true`);
      await expect(source.close?.()).rejects.toThrow("the machine is still paused");
    });
  });

  it("is told to be halted still by whoever opens more than a source, beside what went wrong there", async () => {
    await using({ answers: (request) => (request === "D" ? "E01" : undefined) }, async ({ port }) => {
      const target = { connector: `gdb:127.0.0.1:${port}` };
      await expect(open(target, { ept: { root: 0 } })).rejects.toMatchObject({
        code: "STILL_FROZEN",
        message: expect.stringMatching(/no nested page tables .* and the machine is still paused/),
      });
    });
  });

  it("is told to be halted perhaps where its stub has gone, unless it was QEMU's, which ends with it", async () => {
    for (const physical of [false, true]) {
      const stub = await startStub({ base: 0n, bytes: pattern(0x4000, 3), physical });
      const source = await openGdb(`127.0.0.1:${stub.port}`, { map: "0-0x4000" });
      stub.close();
      const closing = Promise.resolve(source.close?.());
      if (physical) await closing;
      else {
        await expect(closing).rejects.toMatchObject({
          code: "STILL_FROZEN",
          message: expect.stringContaining("if it is still there, it is halted"),
        });
      }
    }
  });

  it.each([
    ["QEMU's, a decimal errno", true, "E14", 14],
    ["another stub's, a code in hexadecimal", false, "E14", DEVICE_CODE + 0x14],
    ["another stub's with letters", false, "E0E", DEVICE_CODE + 14],
    ["a stub's that gives no number", false, "E.no such memory", 0],
  ])("tells why a page can't be read: %s", async (_whose, physical, refusal, detail) => {
    await using({ physical, refusal, bad: [{ start: 0, end: 0x1000 }] }, async ({ port }) => {
      const source = await openGdb(`127.0.0.1:${port}`, { map: "0-0x4000", ...QUIET });
      const { holes } = await readPartial(new SourceIo(source), 0, 16);
      expect(holes.map(({ state, fault }) => ({ state, detail: faultDetail(fault) }))).toEqual([
        { state: "io", detail },
      ]);
      await source.close?.();
    });
  });

  it("is not even paused for a map that is none", async () => {
    await using({ physical: true }, async ({ port, requests }) => {
      await expect(openGdb(`127.0.0.1:${port}`, { map: "4G-0" })).rejects.toThrow();
      expect(requests).toEqual([]);
    });
  });

  it("has its processors and registers once, where the stub names them for ever", async () => {
    const answers = (request: string) => (/^q[fs]ThreadInfo$/.test(request) ? "m1,2" : undefined);
    const register = '<reg name="rax" bitsize="64"/><reg name="r123456" bitsize="64"/>';
    const objects = {
      "features:target.xml": `<target><architecture>i386:x86-64</architecture>${register.repeat(2000)}</target>`,
    };
    const asked = (request: string) => (/^p/.test(request) ? little(7n) : answers(request));
    await using({ answers: asked, objects, features: "qXfer:features:read+" }, async ({ port, requests }) => {
      const source = await openGdb(`127.0.0.1:${port}`, QUIET);
      expect((await source.notes()).cpus).toEqual([
        { pid: 0, registers: { rax: 7n } },
        { pid: 1, registers: { rax: 7n } },
      ]);
      expect(requests.filter((request) => request.startsWith("p"))).toEqual(["p0", "p0"]);
    });
  });

  it("is waited for as long as a duration says", async () => {
    await using({ spoil: () => Buffer.alloc(0) }, async ({ port }) => {
      await expect(openTarget(`gdb:127.0.0.1:${port}:resume=false,timeout=150ms`)).rejects.toMatchObject({
        code: "GDB_TIMEOUT",
        message: expect.stringContaining("within 0.15 s"),
      });
    });
  });

  it("is waited for as long as that also when it is to let go what can't be opened", async () => {
    const once = (packet: Buffer, count: number) => (count === 0 ? packet : Buffer.alloc(0));
    await using({ spoil: once }, async ({ port }) => {
      await expect(openGdb(`127.0.0.1:${port}`, { timeout: 250 })).rejects.toMatchObject({
        code: "STILL_FROZEN",
        message: expect.stringMatching(/still paused.* within 0.25 s/),
      });
    });
  });

  it("answers synchronously from a thread of its own, and only from there", async () => {
    // In a process of its own: this one waits without turning its event loop.
    const child = spawn(process.execPath, ["-e", SMALL_STUB], { stdio: ["ignore", "pipe", "inherit"] });
    try {
      const port = await new Promise<string>((resolve) =>
        child.stdout.once("data", (text) => resolve(String(text).trim())),
      );
      const target = `gdb:127.0.0.1:${port}:resume=false,memory=physical,map=0-0x4000`;
      const machine = await open({ connector: `${target},worker=true` }, { kernel: "none" });
      expect([...(machine.physical?.read(100, 50).sync() ?? [])]).toEqual(
        Array.from({ length: 50 }, (_, i) => (100 + i) & 255),
      );
      await machine.close();
      const { source } = await openTarget(target);
      expect(() => readInto(new SourceIo(source), 0, new Uint8Array(8)).sync()).toThrow(WouldBlockError);
      await source.close?.();
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("says from its thread what it would say itself", async () => {
    await expect(openTarget("gdb:127.0.0.1:1:worker=true,resume=false")).rejects.toMatchObject({
      code: "GDB_REFUSED",
      message: expect.stringContaining("there is no stub to connect to"),
    });
  });

  it.each(["", "localhost", "localhost:0", "localhost:99999", "unix:"])("is not at %s", async (target) => {
    await expect(openGdb(target)).rejects.toMatchObject({ code: "BAD_TARGET" });
  });
});

describe("a stub that is not as it should be", () => {
  const read = async (options: Partial<StubOptions>, more = {}) => {
    let result: { states: string[]; stub: Stub } | undefined;
    await using(options, async (stub) => {
      const source = await openGdb(`127.0.0.1:${stub.port}`, { timeout: 300, ...QUIET, ...more });
      const { holes, bytes } = await readPartial(new SourceIo(source), 16n, 1000);
      result = { states: holes.map(({ state }) => state), stub };
      if (holes.length === 0) expect(bytes).toEqual(pattern(0x4000, 3).slice(16, 1016));
      await source.close?.();
    });
    return result as { states: string[]; stub: Stub };
  };
  /** Another packet, from the first answer to a read on. */
  const spoilReads = (spoil: (packet: Buffer, n: number) => Buffer | undefined) => {
    let reads = 0;
    return (packet: Buffer) => (packet.length > 60 ? spoil(packet, reads++) : packet);
  };

  it("sends a packet with a wrong sum, and is asked for it again", async () => {
    const { states, stub } = await read({
      spoil: spoilReads((packet, n) =>
        n === 0 ? Buffer.concat([packet.subarray(0, -2), Buffer.from("zz")]) : packet,
      ),
    });
    expect(states).toEqual([]);
    expect(stub.marks).toContain("-");
  });

  it("sends wrong sums for ever, and is given up", async () => {
    const wrong = (packet: Buffer) => Buffer.concat([packet.subarray(0, -2), Buffer.from("zz")]);
    const { states } = await read({ features: "QStartNoAckMode+", spoil: spoilReads(wrong) });
    expect(states).toEqual(["gone"]);
  });

  it("closes amid an answer", async () => {
    expect((await read({ spoil: spoilReads(() => undefined) })).states).toEqual(["gone"]);
  });

  it("does not answer any more", async () => {
    expect((await read({ spoil: spoilReads(() => Buffer.alloc(0)) })).states).toEqual(["gone"]);
  });

  it("sends without an end", async () => {
    const endless = Buffer.concat([Buffer.from("$"), Buffer.alloc(5 * 2 ** 20, "a")]);
    expect((await read({ spoil: spoilReads(() => endless) })).states).toEqual(["gone"]);
  });

  it("gives less than it was asked for", async () => {
    expect((await read({ least: 7 })).states).toEqual([]);
  });

  it("answers with what is no memory", async () => {
    const { states } = await read({ answers: (request) => (request.startsWith("m") ? "zz" : undefined) });
    expect(states).toEqual(["io"]);
  });

  it("tells that the machine stopped, amid all", async () => {
    const stop = Buffer.from("$T05thread:01;#07");
    const { states } = await read({ spoil: spoilReads((packet) => Buffer.concat([stop, packet])) });
    expect(states).toEqual([]);
  });

  it("says that it got a packet wrong which it has taken, and is not asked again", async () => {
    const { states, stub } = await read({
      spoil: spoilReads((packet) => Buffer.concat([Buffer.from("-"), packet])),
    });
    expect(states).toEqual([]);
    expect(new Set(stub.requests).size).toBe(stub.requests.length);
  });

  it("says again and again that the machine stopped, instead of an answer", async () => {
    expect((await read({ chatters: 20 })).states).toEqual(["gone"]);
  });

  it("is no stub at all", async () => {
    await using({ spoil: () => Buffer.from("SSH-2.0-OpenSSH_9.2\r\n") }, async ({ port }) => {
      await expect(openGdb(`127.0.0.1:${port}`, { timeout: 300, ...QUIET })).rejects.toMatchObject({
        code: "GDB_PROTOCOL",
      });
    });
  });
});

describe("what listens on a port and is no stub", () => {
  const serving = async (serve: (socket: Socket) => void, use: (port: number) => Promise<void>) => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket.on("error", () => {}));
      serve(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      await use((server.address() as { port: number }).port);
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  };

  it.each([
    ["HTTP/1.1 400 Bad Request\r\nX: a+b\r\n\r\n", "HTTP/1.1 400 Bad Request…"],
    ["SSH-2.0-Other_9.2\r\n", "SSH-2.0-Other_9.2\\x0d\\x0a"],
    ['{"QMP": {"version": {}}}\r\n', '{"QMP": {"version": {}}}…'],
  ])("is told at once by what it says, and nothing is told to be paused: %s", async (greeting, shown) => {
    const serve = (socket: Socket) => socket.once("data", () => socket.write(greeting));
    await serving(serve, async (port) => {
      // (Where it is waited for, this test is over before.)
      const name = `gdb:127.0.0.1:${port}`;
      await expect(openGdb(`127.0.0.1:${port}`, { timeout: 1e6 })).rejects.toMatchObject({
        code: "GDB_PROTOCOL",
        message: `${name}: what answers there is no GDB stub: it sends ${shown}`,
      });
    });
  });

  it.each([
    [
      "says what nobody knows",
      (socket: Socket) => socket.write("hey\x1b"),
      /no GDB stub: it sends hey\\x1b$/,
    ],
    ["hangs up", (socket: Socket) => socket.end(), /closed the connection without a word: it is no GDB stub/],
  ])("is told when the time is over, and nothing is told to be paused: %s", async (_how, serve, message) => {
    await serving(serve, async (port) => {
      await expect(openGdb(`127.0.0.1:${port}`, { timeout: 150 })).rejects.toMatchObject({
        code: expect.stringMatching(/^GDB_/),
        message: expect.stringMatching(message),
      });
    });
  });

  it("may be a stub that has paused its machine, where it says nothing: that is told", async () => {
    await serving(
      () => {},
      async (port) => {
        await expect(openGdb(`127.0.0.1:${port}`, { timeout: 150 })).rejects.toMatchObject({
          code: "STILL_FROZEN",
          message: expect.stringMatching(
            /nothing came within 0.15 s: .*; and if it is a stub, its machine may be paused now: resume it, in gdb with/,
          ),
        });
      },
    );
  });

  it("is let go of where it says nothing for too long, and is a stub all the same", async () => {
    let clients = 0;
    let text = "";
    const slow = (socket: Socket) => {
      const isFirst = clients++ === 0;
      socket.on("data", (bytes) => {
        if (isFirst) return;
        text += String(bytes);
        socket.write("+$OK#9a");
      });
    };
    await serving(slow, async (port) => {
      await expect(openGdb(`127.0.0.1:${port}`, { timeout: 1000 })).rejects.toMatchObject({
        code: "GDB_TIMEOUT",
      });
    });
    expect(text).toContain("$D#44");
  });

  it("is not what a stub is whose line had something to say before", async () => {
    const early = (packet: Buffer, count: number) =>
      count === 0 ? Buffer.concat([Buffer.from("[ 1.5] a-b\r\n"), packet]) : packet;
    await using({ spoil: early }, async ({ port }) => {
      await (await openGdb(`127.0.0.1:${port}`, QUIET)).close?.();
    });
  });
});
