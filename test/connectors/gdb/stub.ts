/** A small stub of GDB's remote protocol over an array, for tests: as honest as one can be, or not. */
import { createServer, type Server, type Socket } from "node:net";

export interface StubOptions {
  readonly base: bigint;
  readonly bytes: Uint8Array;
  /** Bytes relative to the base that it refuses, `end` exclusive. */
  readonly bad?: readonly { readonly start: number; readonly end: number }[];
  readonly packetSize?: number;
  /** What it says that it supports beside the size. */
  readonly features?: string;
  /** Whether addresses can be made physical. */
  readonly physical?: boolean;
  /** Whether it encodes runs. */
  readonly runs?: boolean;
  /** Objects by `KIND:NAME`. */
  readonly objects?: Readonly<Record<string, string>>;
  /** Answers by request, before all others. */
  readonly answers?: (request: string) => string | undefined;
  /** Bytes in one answer to a read at most. */
  readonly least?: number;
  /** Turns what it sends into something else. */
  readonly spoil?: (packet: Buffer, count: number) => Buffer | undefined;
  /** Answers no read, but says every so many milliseconds that the machine stopped. */
  readonly chatters?: number;
  /** What it answers to what it refuses; default `E0e`. */
  readonly refusal?: string;
}

/** A running stub. */
export interface Stub {
  readonly port: number;
  /** Every request, without its frame. */
  readonly requests: string[];
  /** `+` and `-` that came. */
  readonly marks: string[];
  close(): void;
}

/** What ends a packet's data, or has a meaning in it. */
const SPECIAL = new Set([0x23, 0x24, 0x2a, 0x7d]);

function escaped(data: Buffer): Buffer {
  return Buffer.from([...data].flatMap((byte) => (SPECIAL.has(byte) ? [0x7d, byte ^ 0x20] : [byte])));
}

/** Runs of digits of four and more, of a length that is no `#` or `$` when it is written. */
function shorten(data: Buffer): Buffer {
  const text = data.toString("latin1");
  return Buffer.from(
    text.replace(/([0-9a-f])\1{3,96}/g, (run, digit: string) => {
      let times = run.length - 1;
      while ([6, 7].includes(times)) times--;
      return `${digit}*${String.fromCharCode(times + 29)}${digit.repeat(run.length - 1 - times)}`;
    }),
    "latin1",
  );
}

export function framed(data: Buffer): Buffer {
  const sum = data.reduce((a, b) => (a + b) & 255, 0);
  return Buffer.concat([Buffer.from("$"), data, Buffer.from(`#${sum.toString(16).padStart(2, "0")}`)]);
}

export async function startStub(options: StubOptions): Promise<Stub> {
  const requests: string[] = [];
  const marks: string[] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => {});
    let acks = true;
    let text = "";
    let count = 0;
    let last: Buffer = Buffer.alloc(0);
    const send = (data: Buffer) => {
      last = framed(data);
      const packet = options.spoil === undefined ? last : options.spoil(last, count++);
      if (packet === undefined) socket.destroy();
      else socket.write(packet);
    };
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      for (;;) {
        const mark = /^[+-]/.exec(text)?.[0];
        if (mark !== undefined) {
          marks.push(mark);
          text = text.slice(1);
          if (mark === "-") socket.write(last);
          continue;
        }
        const match = /^\$([^#]*)#[0-9a-f]{2}/.exec(text);
        if (match === null) return;
        text = text.slice(match[0].length);
        const request = (match[1] as string).replace(/}([\s\S])/g, (_, c: string) =>
          String.fromCharCode(c.charCodeAt(0) ^ 0x20),
        );
        requests.push(request);
        if (acks) socket.write("+");
        if (options.chatters !== undefined && request.startsWith("m")) {
          const chatter = setInterval(() => socket.write("$T05#b9"), options.chatters);
          socket.once("close", () => clearInterval(chatter));
          continue;
        }
        const binary = request.startsWith("x");
        const answer = answerOf(request, options);
        send(options.runs === true && !binary ? shorten(answer) : escaped(answer));
        if (request === "QStartNoAckMode") acks = false;
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as { port: number }).port,
    requests,
    marks,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function answerOf(request: string, options: StubOptions): Buffer {
  const { packetSize = 0x400, features = "", physical = false, objects = {} } = options;
  const given = options.answers?.(request);
  if (given !== undefined) return Buffer.from(given, "latin1");
  const say = (text: string) => Buffer.from(text, "latin1");
  if (request.startsWith("qSupported")) return say(`PacketSize=${packetSize.toString(16)};${features}`);
  if (request === "QStartNoAckMode" || request === "D" || request.startsWith("Hg")) return say("OK");
  if (request === "?") return say("T05thread:01;");
  if (request === "qqemu.PhyMemMode") return say(physical ? "0" : "");
  if (request.startsWith("Qqemu.PhyMemMode:")) return say(physical ? "OK" : "");
  const object = /^qXfer:([^:]*):read:([^:]*):([0-9a-f]+),([0-9a-f]+)$/.exec(request);
  if (object !== null) {
    const text = objects[`${object[1]}:${object[2]}`];
    if (text === undefined) return say("E00");
    const at = Number.parseInt(object[3] as string, 16);
    const part = text.slice(at, at + Math.min(40, Number.parseInt(object[4] as string, 16)));
    return say((at + part.length < text.length ? "m" : "l") + part);
  }
  const memory = /^([mxM])([0-9a-f]+),([0-9a-f]+)(?::([0-9a-f]*))?$/.exec(request);
  return memory === null ? say("") : access(memory, options, packetSize);
}

function access(
  [, kind, where, size, digits = ""]: RegExpExecArray,
  options: StubOptions,
  packetSize: number,
): Buffer {
  const { base, bytes, bad = [], least = 1 << 30, refusal = "E0e" } = options;
  const at = Number(BigInt(`0x${where}`) - base);
  const length = Number.parseInt(size as string, 16);
  const isBad =
    at < 0 || at + length > bytes.length || bad.some(({ start, end }) => start < at + length && end > at);
  const limit = kind === "x" ? packetSize : packetSize / 2;
  if (isBad || length > limit) return Buffer.from(refusal);
  if (kind === "M") {
    bytes.set(Buffer.from(digits, "hex"), at);
    return Buffer.from("OK");
  }
  const part = Buffer.from(bytes.subarray(at, at + Math.min(length, least)));
  return kind === "x" ? Buffer.concat([Buffer.from("b"), part]) : Buffer.from(part.toString("hex"));
}
