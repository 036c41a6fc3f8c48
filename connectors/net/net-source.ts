/** Memory that `memtool serve` serves elsewhere. docs/net.md has the protocol. */
import { randomUUID } from "node:crypto";
import { setTimeout as wait } from "node:timers/promises";
import type { DumpNotes } from "../../src/formats/index.js";
import { AddressRanges, type Batch, type Fault, fault, type Source, withDetail } from "../../src/io/index.js";
import { MalformedError } from "../byte-code.js";
import type { KindedSource } from "../connector.js";
import { ConnectorError } from "../errors.js";
import type { ProcessMap } from "../proc/maps.js";
import { notesFromJson, objectOf, parseObject } from "../source-facts.js";
import {
  type Connection,
  type ConnectOptions,
  hintOf,
  isFinal,
  openConnection,
  type Welcome,
} from "./connection.js";
import { ExistingReader } from "./existing.js";
import { isLocal, type NetPlace, placeText } from "./place.js";
import {
  answerId,
  BATCH_BYTES,
  BATCH_ROWS,
  decodeAnswer,
  encodeBatch,
  MESSAGE,
  WINDOW_BATCHES,
  WINDOW_BYTES,
  type WireRow,
} from "./protocol.js";

/** Options of `openNet`. */
export interface NetOptions extends Partial<ConnectOptions> {
  /** What the server was given, or printed. */
  readonly token: string;
  /** Ask for writes; the server must have been started for them. Default: false. */
  readonly write?: boolean | undefined;
  /** Go to another machine without TLS; default false. */
  readonly plain?: boolean | undefined;
  /** Milliseconds in which a lost connection must come back before the server counts as gone (default 5,000). */
  readonly retry?: number | undefined;
}

/** A source at the other end of a connection. */
export interface NetSource extends KindedSource {
  /** What the server calls it: `proc:1`. */
  readonly serves: string;
  /** How often the connection was lost, and came back. */
  readonly reconnects: number;
  /** Those of what is served: see `MachineSource`. */
  readonly warnings: readonly string[];
  readonly remarks: readonly string[];
}

const GONE: Fault = fault("gone", "stream", "connector");
/** Connections that may be lost, one after the other, while something is awaited, and without an answer to anything. */
const MAX_FRUITLESS = 3;
/** Milliseconds: a connection that does not last as long is fruitless also where nothing was awaited. */
const SHORT_LIVED = 1000;
/** ECONNRESET: whether the write landed, nobody knows. */
const LOST: Fault = withDetail(fault("io", "stream", "connector"), 104);

/** A part of a batch that is one message. */
interface Pending {
  readonly id: number;
  readonly transfer: Transfer;
  readonly rows: readonly WireRow[];
  /** Of each row: the batch's, and where in that one it begins. */
  readonly places: readonly { readonly row: number; readonly start: number }[];
  readonly bytes: number;
}

/** A batch that is under way. */
interface Transfer {
  readonly batch: Batch;
  left: number;
  readonly holes: { row: number; start: number; end: number; fault: Fault }[];
  done(): void;
}

/** See `openNet`. */
export async function openNetSource(place: NetPlace, options: NetOptions): Promise<NetSource> {
  const name = `net:${placeText(place)}`;
  if (!isLocal(place) && options.tls === undefined && options.plain !== true) {
    throw new ConnectorError(
      "NOT_LOCAL",
      name,
      "everybody on the way can read along without TLS: fingerprint=… or ca=FILE, or plain=true if that may be",
    );
  }
  const source = new OpenNet(name, place, options);
  await source.start();
  return source;
}

class OpenNet implements NetSource {
  readonly name: string;
  kind: NetSource["kind"] = "physical";
  supports: Source["supports"] = { write: false, live: true };
  serves = "";
  reconnects = 0;
  warnings: readonly string[] = [];
  remarks: readonly string[] = [];
  /** There where the server's source has them. */
  notes: (() => Promise<DumpNotes>) | undefined;
  maps: (() => ProcessMap[]) | undefined;
  readonly #place: NetPlace;
  readonly #options: ConnectOptions;
  readonly #retry: number;
  readonly #asksWrite: boolean;
  #connection: Connection | undefined;
  #ranges = AddressRanges.none;
  #maps: ProcessMap[] = [];
  #existing = new ExistingReader();
  #told: (() => void) | undefined;
  /** Who waits for the notes: all of them for the same answer. */
  #asked: { resolve(notes: DumpNotes): void; reject(error: Error): void }[] = [];
  #patience: NodeJS.Timeout | undefined;
  /** Sent, and not answered; in the order of their ids. */
  readonly #pending = new Map<number, Pending>();
  readonly #queue: Pending[] = [];
  #sent = 0;
  #lastId = 0;
  #gone: Error | undefined;
  #closing = false;
  /** Connections that were lost since the last answer. */
  #fruitless = 0;
  /** When the last one began. */
  #since = 0;

  constructor(name: string, place: NetPlace, options: NetOptions) {
    this.name = name;
    this.#place = place;
    this.#options = { compress: "auto", timeout: 30_000, session: randomUUID(), ...options };
    this.#retry = options.retry ?? 5000;
    this.#asksWrite = options.write === true;
  }

  async start(): Promise<void> {
    const told = new Promise<void>((resolve) => {
      this.#told = resolve;
    });
    let welcome: Welcome;
    try {
      welcome = await this.#connect();
    } catch (error) {
      throw this.#failed(error as Error);
    }
    const { kind, live, write, notes, name } = welcome;
    this.kind = kind;
    this.serves = name;
    this.supports = { write: write && this.#asksWrite, live };
    if (this.#asksWrite && !write) {
      this.close();
      throw new ConnectorError(
        "READ_ONLY",
        this.name,
        "the server does not allow writes (memtool serve --write does)",
      );
    }
    if (notes) this.notes = () => this.#askNotes();
    await told;
    if (this.#gone !== undefined) throw this.#failed(this.#gone);
    this.#rest();
  }

  #failed(error: Error): ConnectorError {
    return new ConnectorError("CONNECT_FAILED", this.name, `${error.message}${hintOf(error)}`, {
      cause: error,
    });
  }

  async #connect(): Promise<Welcome> {
    const connection: Connection = await openConnection(this.#place, this.#options, {
      message: (type, body) => this.#take(type, body),
      arriving: () => this.#patience?.refresh(),
      closed: (why) => void this.#lost(why),
    });
    this.#connection = connection;
    this.#since = performance.now();
    const { timeout } = this.#options;
    connection.stream.socket.setTimeout(timeout).on("timeout", () => {
      if (this.#isAwaiting) connection.stream.end(new Error(`no answer within ${timeout} ms`));
    });
    this.#watch();
    if (this.#closing) connection.stream.end(new Error("closed"));
    return connection.welcome;
  }

  /** Whether the server owes an answer: to a batch or a question, or what there is at all. */
  get #isAwaiting(): boolean {
    return this.#pending.size > 0 || this.#asked.length > 0 || this.#told !== undefined;
  }

  /** While an answer is awaited, one must come in time, or a part of one; else the connection counts as lost. */
  #watch(): void {
    const { stream } = this.#connection ?? {};
    if (stream === undefined || stream.isClosed || !this.#isAwaiting) {
      clearTimeout(this.#patience);
      this.#patience = undefined;
    } else if (this.#patience === undefined) {
      this.#patience = setTimeout(() => this.#tooLate(), this.#options.timeout);
      // (The socket keeps the program alive meanwhile.)
      this.#patience.unref();
    } else this.#patience.refresh();
  }

  #tooLate(): void {
    const { stream } = this.#connection ?? {};
    // What is still on its way there can't be answered: the socket has a time limit of its own for that.
    if (stream !== undefined && stream.waiting > 0) this.#patience?.refresh();
    else stream?.end(new Error(`no answer within ${this.#options.timeout} ms`));
  }

  /** If nothing is awaited, the program may end. */
  #rest(): void {
    this.#watch();
    if (!this.#isAwaiting) this.#connection?.stream.socket.unref();
  }

  #take(type: number, body: Uint8Array): void {
    if (type === MESSAGE.answer) this.#answered(body);
    else if (type === MESSAGE.ranges) {
      const existing = this.#existing.take(parseObject(body));
      if (existing === undefined) return;
      const { maps, warnings, remarks } = existing;
      this.#ranges = existing.ranges;
      this.warnings = warnings;
      this.remarks = remarks;
      if (maps !== undefined) {
        this.#maps = maps;
        this.maps = () => this.#maps;
      }
      this.#told?.();
      this.#told = undefined;
    } else if (type === MESSAGE.notes) {
      if (this.#asked.length === 0) throw new MalformedError("notes that nobody asked for");
      const { notes, problem } = parseObject(body);
      const refused =
        typeof problem === "string"
          ? new ConnectorError("NO_NOTES", this.name, `the server says: ${problem.slice(0, 200)}`)
          : undefined;
      // (First they are read: whoever waits is told when that fails.)
      const found = refused === undefined ? notesFromJson(objectOf(notes, "what it calls notes")) : undefined;
      this.#fruitless = 0;
      for (const { resolve, reject } of this.#asked.splice(0)) {
        if (found === undefined) reject(refused as ConnectorError);
        else resolve(found);
      }
      this.#rest();
    } else throw new MalformedError(`a message of type ${type}`);
  }

  #askNotes(): Promise<DumpNotes> {
    return new Promise<DumpNotes>((resolve, reject) => {
      if (this.#gone !== undefined) return reject(this.#goneError(this.#gone));
      this.#asked.push({ resolve, reject });
      if (this.#asked.length === 1) this.#ask();
    });
  }

  ranges(): AddressRanges {
    return this.#gone === undefined ? this.#ranges : AddressRanges.none;
  }

  transfer(batch: Batch): Promise<void> {
    return new Promise<void>((resolve) => {
      const transfer: Transfer = {
        batch,
        left: 0,
        holes: [],
        done: () => {
          for (let row = 0; row < batch.length; row++) batch.done(row);
          for (const { row, start, end, fault } of transfer.holes) batch.failRange(row, start, end, fault);
          resolve();
        },
      };
      const messages = this.#messages(transfer);
      transfer.left = messages.length;
      if (messages.length === 0) return transfer.done();
      this.#queue.push(...messages);
      this.#send();
    });
  }

  /** Cuts a batch into messages. */
  #messages(transfer: Transfer): Pending[] {
    const { batch } = transfer;
    const found: Pending[] = [];
    let rows: WireRow[] = [];
    let places: { row: number; start: number }[] = [];
    let bytes = 0;
    const flush = () => {
      if (rows.length > 0) found.push({ id: ++this.#lastId, transfer, rows, places, bytes });
      rows = [];
      places = [];
      bytes = 0;
    };
    for (let row = 0; row < batch.length; row++) {
      const length = batch.lengths[row] as number;
      for (let start = 0; start < length; ) {
        if (bytes === BATCH_BYTES || rows.length === BATCH_ROWS) flush();
        const count = Math.min(length - start, BATCH_BYTES - bytes);
        const sum = (batch.words[2 * row] as number) + start;
        const lo = sum >>> 0;
        const hi = (batch.words[2 * row + 1] as number) + (sum - lo) / 2 ** 32;
        rows.push({ lo, hi, length: count });
        places.push({ row, start });
        bytes += count;
        start += count;
      }
    }
    flush();
    return found;
  }

  /** Sends what may be under way at a time. */
  #send(): void {
    if (this.#gone !== undefined) {
      for (const pending of this.#queue.splice(0)) this.#fail(pending, GONE);
      return;
    }
    const { stream } = this.#connection ?? {};
    if (stream === undefined || stream.isClosed) return;
    for (;;) {
      const [next] = this.#queue;
      if (next === undefined || this.#pending.size >= WINDOW_BATCHES) return;
      if (this.#pending.size > 0 && this.#sent + next.bytes > WINDOW_BYTES) return;
      this.#queue.shift();
      const { id, rows, bytes, places, transfer } = next;
      const { batch } = transfer;
      const direction = batch.direction === "read" ? "read" : "write";
      const payload =
        direction === "read"
          ? []
          : places.map(({ row, start }, i) =>
              batch.bytes(row).subarray(start, start + (rows[i] as WireRow).length),
            );
      if (this.#pending.size === 0) stream.socket.ref();
      this.#pending.set(id, next);
      this.#sent += bytes;
      stream.send(MESSAGE.batch, encodeBatch(id, direction, rows, payload));
      if (this.#patience === undefined) this.#watch();
    }
  }

  #answered(body: Uint8Array): void {
    const pending = this.#pending.get(answerId(body));
    if (pending === undefined) throw new MalformedError("an answer to nothing");
    const { bytes, places, rows, transfer, id } = pending;
    const answer = decodeAnswer(body, bytes, transfer.batch.direction);
    this.#pending.delete(id);
    this.#sent -= bytes;
    this.#fruitless = 0;
    const { batch } = transfer;
    const isRead = batch.direction === "read";
    let at = 0;
    let from = 0;
    let hole = 0;
    for (let i = 0; i < rows.length; i++) {
      const { row, start } = places[i] as Pending["places"][number];
      const end = at + (rows[i] as WireRow).length;
      const origin = start - at;
      while (at < end) {
        const next = answer.holes[hole];
        const stop = Math.min(end, next?.start ?? end);
        if (stop > at) {
          if (isRead) batch.bytes(row).set(answer.bytes.subarray(from, from + stop - at), origin + at);
          from += stop - at;
          at = stop;
          continue;
        }
        const last = Math.min(end, (next as (typeof answer.holes)[number]).end);
        transfer.holes.push({
          row,
          start: origin + at,
          end: origin + last,
          fault: (next as { fault: Fault }).fault,
        });
        at = last;
        if (last === next?.end) hole++;
      }
    }
    this.#settle(transfer);
    this.#send();
    this.#rest();
  }

  #settle(transfer: Transfer): void {
    transfer.left--;
    if (transfer.left === 0) transfer.done();
  }

  #fail({ places, rows, transfer }: Pending, why: Fault): void {
    places.forEach(({ row, start }, i) => {
      transfer.holes.push({ row, start, end: start + (rows[i] as WireRow).length, fault: why });
    });
    this.#settle(transfer);
  }

  /** The connection is over: tries to have another. */
  async #lost(why: Error): Promise<void> {
    const isAwaited = this.#isAwaiting || this.#queue.length > 0;
    const isShort = performance.now() - this.#since < SHORT_LIVED;
    this.#connection = undefined;
    this.#existing = new ExistingReader();
    this.#watch();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    this.#sent = 0;
    const again: Pending[] = [];
    for (const each of pending) {
      if (each.transfer.batch.direction === "read") again.push(each);
      else this.#fail(each, LOST);
    }
    this.#queue.unshift(...again);
    if (this.#closing || isFinal(why) || this.#told !== undefined) return this.#end(why);
    // (What lets us in and never answers would have us come back for ever.)
    if ((isAwaited || isShort) && ++this.#fruitless > MAX_FRUITLESS) return this.#end(why);
    const until = performance.now() + this.#retry;
    for (let pause = 0; ; pause = Math.min(1000, pause * 2 + 50)) {
      // (A program that waits for nothing may end meanwhile.)
      await wait(pause, undefined, { ref: this.#queue.length > 0 || this.#asked.length > 0 });
      if (this.#closing) return this.#end(why);
      try {
        const { name, kind } = await this.#connect();
        if (name === this.serves && kind === this.kind) break;
        return this.#end(new Error(`the server serves ${name} now`));
      } catch (error) {
        if (isFinal(error as Error) || performance.now() > until) return this.#end(error as Error);
      }
    }
    this.reconnects++;
    if (this.#asked.length > 0) this.#ask();
    this.#send();
    this.#rest();
  }

  #ask(): void {
    const { stream } = this.#connection ?? {};
    if (stream === undefined || stream.isClosed) return;
    stream.socket.ref();
    stream.send(MESSAGE.ask, new Uint8Array(0));
    if (this.#patience === undefined) this.#watch();
  }

  #goneError(why: Error): ConnectorError {
    return new ConnectorError("GONE", this.name, why.message, { cause: why });
  }

  #end(why: Error): void {
    this.#gone ??= why;
    this.#connection?.stream.end(why);
    for (const { reject } of this.#asked.splice(0)) reject(this.#goneError(why));
    this.#told?.();
    this.#told = undefined;
    this.#watch();
    this.#send();
  }

  close(): void {
    this.#closing = true;
    this.#connection?.stream.end(new Error("closed"));
  }
}
