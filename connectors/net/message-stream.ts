/** Messages over a connection: framed, bounded, compressed where that pays. */
import type { Socket } from "node:net";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { MalformedError } from "../byte-code.js";
import { HEADER_BYTES, MESSAGE_BYTES, STRANGER_BYTES } from "./protocol.js";

/** Shorter messages are not worth compressing. */
const LEAST = 512;
/** How many messages go between two that are compressed to see what it would bring. */
const SAMPLE = 32;

/** What hears of a connection. */
export interface Listener {
  /** @throws {MalformedError} which ends the connection. */
  message(type: number, body: Uint8Array): void;
  /** A part of a message came, which is not whole yet. */
  arriving?(): void;
  /** Once: the connection is over. */
  closed(why: Error): void;
}

/** The other side says what makes no sense: there is no use in trying again. */
export class ProtocolError extends Error {}

/**
 * Whether messages are compressed: when it takes less time than it saves, always, or never. (Short ones are not in any case, nor what it
 * does not make smaller by a tenth.)
 */
export type Compression = "auto" | "always" | "never";

/** What two sides do: what one of them never does, both don't; else what one of them always does. */
export function agreedCompression(ours: Compression, theirs: unknown): Compression {
  for (const choice of ["never", "always"] as const) if (ours === choice || theirs === choice) return choice;
  return "auto";
}

/** See the module's comment. */
export class MessageStream {
  readonly socket: Socket;
  readonly #listener: Listener;
  /** Bytes that arrived and are part of no whole message. */
  #chunks: Buffer[] = [];
  #bytes = 0;
  #limit = STRANGER_BYTES;
  #closed = false;
  #paused = false;
  /** What the other side takes. */
  compression: Compression = "never";
  readonly #pace = new Pace();

  constructor(socket: Socket, listener: Listener) {
    this.socket = socket;
    this.#listener = listener;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
    socket.on("error", (error) => this.end(error));
    socket.on("close", () => this.end(new Error("the connection was closed")));
    socket.on("end", () => this.end(new Error("the other side closed the connection")));
  }

  /** From now on the other side is known: its messages may be as long as they get. */
  trust(): void {
    this.#limit = MESSAGE_BYTES;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Bytes that wait to be sent. */
  get waiting(): number {
    return this.socket.writableLength;
  }

  send(type: number, body: Uint8Array): void {
    if (this.#closed) return;
    const packed = this.#packed(body);
    const stored = packed ?? body;
    const header = Buffer.alloc(HEADER_BYTES);
    header[0] = type;
    header[1] = packed === undefined ? 0 : 1;
    header.writeUInt32LE(stored.length, 4);
    header.writeUInt32LE(body.length, 8);
    const begin = performance.now();
    this.socket.cork();
    this.socket.write(header);
    this.socket.write(stored, () => this.#pace.sent(stored.length, performance.now() - begin));
    this.socket.uncork();
  }

  sendText(type: number, value: unknown): void {
    this.send(type, Buffer.from(JSON.stringify(value)));
  }

  #packed(body: Uint8Array): Uint8Array | undefined {
    if (body.length < LEAST || this.compression === "never") return undefined;
    if (this.compression === "auto" && !this.#pace.pays()) return undefined;
    const begin = performance.now();
    const packed = deflateRawSync(body, { level: 1 });
    this.#pace.packed(body.length, packed.length, performance.now() - begin);
    return packed.length < body.length * 0.9 ? packed : undefined;
  }

  #take(chunk: Buffer): void {
    if (this.#closed) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#run();
    if (this.#bytes > 0) this.#listener.arriving?.();
  }

  #run(): void {
    try {
      while (!this.#closed && !this.#paused && this.#next());
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      this.end(new ProtocolError(`the other side does not speak memtool's protocol: ${error.message}`));
    }
  }

  /** Takes no more messages for now, not even those that have arrived. */
  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#paused || this.#closed) return;
    this.#paused = false;
    this.socket.resume();
    this.#run();
  }

  /** Takes a whole message from what arrived. @returns whether there was one. */
  #next(): boolean {
    if (this.#bytes < HEADER_BYTES) return false;
    const header = this.#front(HEADER_BYTES);
    const type = header[0] as number;
    const packed = header[1] as number;
    const stored = header.readUInt32LE(4);
    const length = header.readUInt32LE(8);
    const isSound =
      packed <= 1 && header.readUInt16LE(2) === 0 && stored <= this.#limit && length <= this.#limit;
    if (!isSound || (packed === 0 && stored !== length)) throw new MalformedError("a header is wrong");
    if (this.#bytes < HEADER_BYTES + stored) return false;
    const all = this.#front(HEADER_BYTES + stored);
    this.#drop(HEADER_BYTES + stored);
    const body = all.subarray(HEADER_BYTES, HEADER_BYTES + stored);
    this.#listener.message(type, packed === 0 ? body : inflated(body, length));
    return true;
  }

  /** The first bytes in one piece. */
  #front(count: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= count) return first;
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = [whole];
    return whole;
  }

  #drop(count: number): void {
    const [first, ...rest] = this.#chunks as [Buffer, ...Buffer[]];
    this.#chunks = first.length === count ? rest : [first.subarray(count), ...rest];
    this.#bytes -= count;
  }

  /** Ends the connection. What was sent before still goes out, for a moment. */
  end(why: Error): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#chunks = [];
    this.#bytes = 0;
    this.socket.end();
    setTimeout(() => this.socket.destroy(), 200).unref();
    this.#listener.closed(why);
  }
}

function inflated(body: Uint8Array, length: number): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = inflateRawSync(body, { maxOutputLength: Math.max(1, length) });
  } catch {
    throw new MalformedError("a message does not decompress");
  }
  if (bytes.length !== length) throw new MalformedError("a message decompresses to another length");
  return bytes;
}

/** How fast the line and the compression are, in milliseconds a byte, as far as they have been seen. */
class Pace {
  #line = 0;
  #deflate = 0;
  #ratio = 1;
  #count = 0;

  sent(bytes: number, took: number): void {
    // (What the system takes at once says nothing of the line.)
    this.#line += 0.2 * (took / Math.max(bytes, 1) - this.#line);
  }

  packed(bytes: number, packed: number, took: number): void {
    this.#deflate += 0.2 * (took / bytes - this.#deflate);
    this.#ratio += 0.2 * (packed / bytes - this.#ratio);
  }

  /** Whether compressing is less than what it saves on the line; now and then, to see. */
  pays(): boolean {
    if (this.#count++ % SAMPLE === 0) return true;
    return this.#deflate < this.#line * (1 - this.#ratio);
  }
}
