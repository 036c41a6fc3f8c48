/** QMP: against a server of the test's own, which behaves as QEMU does, and as nobody should. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { askForNotes, askForRam } from "../../../connectors/qemu/monitor.js";
import { Qmp } from "../../../connectors/qemu/qmp.js";
import { MAX_MESSAGE, QmpMessages } from "../../../connectors/qemu/qmp-messages.js";

const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}\r\n';
const EVENT = '{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}\r\n';
const directory = mkdtempSync(join(tmpdir(), "memtool-qmp-"));
const servers: Server[] = [];
const sockets = new Set<Socket>();
afterAll(() => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers) server.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Command {
  readonly execute: string;
  readonly id: number;
}

/** Listens. @param answer What to send for a command; `undefined` closes. */
async function serve(
  greeting: string,
  answer: (command: Command) => string | undefined,
): Promise<{ path: string }> {
  const path = join(directory, `qmp-${servers.length}`);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.write(greeting);
    let text = "";
    socket.on("data", (bytes) => {
      const lines = (text + String(bytes)).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        const said = answer(JSON.parse(line) as Command);
        if (said === undefined) socket.destroy();
        else socket.write(said);
      }
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { path };
}

const ok = ({ id }: Command, value: unknown = {}) => `${JSON.stringify({ return: value, id })}\r\n`;

describe("a QMP connection", () => {
  it("runs commands, with events in between and answers out of order", async () => {
    const held: Command[] = [];
    const address = await serve(GREETING, (command) => {
      if (command.execute === "qmp_capabilities") return EVENT + ok(command);
      held.push(command);
      if (held.length < 2) return EVENT;
      return held
        .reverse()
        .map((one) => EVENT + ok(one, one.execute))
        .join("");
    });
    const qmp = await Qmp.connect(address);
    expect(await Promise.all([qmp.command("one"), qmp.command("two")])).toEqual(["one", "two"]);
    qmp.close();
    await expect(qmp.command("three")).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("says what QEMU refused", async () => {
    const address = await serve(GREETING, (command) =>
      command.execute === "qmp_capabilities"
        ? ok(command)
        : `${JSON.stringify({ id: command.id, error: { class: "CommandNotFound", desc: "no such command" } })}\n`,
    );
    const qmp = await Qmp.connect(address);
    await expect(qmp.command("stop")).rejects.toMatchObject({
      code: "COMMAND",
      message: expect.stringContaining("QEMU refused stop: no such command"),
    });
    qmp.close();
  });

  it("is busy where nobody greets, because QEMU serves another client", async () => {
    const address = await serve("", () => "");
    await expect(Qmp.connect(address)).rejects.toMatchObject({
      code: "BUSY",
      message: expect.stringContaining("another QMP client may have it"),
    });
  });

  it.each([
    ["a human monitor", "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) \n"],
    ["a list", "[]\n"],
    ["a greeting of another kind", '{"id":0,"hello":true}\n'],
  ])("is none with %s", async (_what, greeting) => {
    const address = await serve(greeting, () => undefined);
    await expect(Qmp.connect(address)).rejects.toMatchObject({ code: "NOT_QMP" });
  });

  it("is refused where nobody listens", async () => {
    await expect(Qmp.connect({ path: join(directory, "nobody") })).rejects.toMatchObject({ code: "REFUSED" });
  });

  it.each([null, 7, [null, 7]])(
    "of a monitor that answers %j with no object tells no RAM, and no processors",
    async (value) => {
      const address = await serve(GREETING, (command) => {
        if (command.execute === "qmp_capabilities") return ok(command);
        const isLine = command.execute === "human-monitor-command";
        return ok(command, isLine ? ' AS "memory", root: system' : value);
      });
      const qmp = await Qmp.connect(address);
      await expect(askForRam(qmp)).rejects.toMatchObject({ code: "COMMAND" });
      expect(await askForNotes(qmp)).toEqual({ cpus: [] });
      qmp.close();
    },
  );

  it("fails what it waits for when QEMU goes away", async () => {
    const address = await serve(GREETING, (command) =>
      command.execute === "qmp_capabilities" ? ok(command) : undefined,
    );
    const qmp = await Qmp.connect(address);
    const both = await Promise.allSettled([qmp.command("a"), qmp.command("b")]);
    expect(both).toMatchObject([
      { status: "rejected", reason: { code: "CLOSED" } },
      { status: "rejected", reason: { code: "CLOSED" } },
    ]);
  });
});

describe("messages of QMP", () => {
  it("are the same however their bytes come", () => {
    const message = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer()));
    fc.assert(
      fc.property(
        fc.array(message),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (given, sizes) => {
          const bytes = Buffer.from(given.map((one) => `${JSON.stringify(one)}\r\n`).join(""));
          const messages = new QmpMessages();
          const found: unknown[] = [];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = sizes[i % sizes.length] as number;
            found.push(...messages.push(bytes.subarray(at, at + size)));
            at += size;
          }
          expect(found).toEqual(given);
        },
      ),
    );
  });

  it("may not be longer than any answer", () => {
    const messages = new QmpMessages();
    const part = new Uint8Array(MAX_MESSAGE / 4).fill(0x20);
    for (let i = 0; i < 4; i++) messages.push(part);
    expect(() => messages.push(part)).toThrow("longer than");
  });
});
