/** A server of a source: whoever has the token reads it from elsewhere. docs/net.md has the protocol. */
import { randomBytes } from "node:crypto";
import { chmodSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import {
  type BoundView,
  fault,
  layer,
  Packet,
  type PacketIo,
  Scheduler,
  type Source,
  SourceIo,
  send,
} from "../../src/io/index.js";
import { MalformedError } from "../byte-code.js";
import type { Connector, MachineSource } from "../connector.js";
import { ConnectorError, errnoName } from "../errors.js";
import { factsOf, notesToJson, parseObject } from "../source-facts.js";
import { existingText, NOTHING_THERE } from "./existing.js";
import { agreedCompression, type Compression, MessageStream } from "./message-stream.js";
import { isLocal, type NetPlace, placeText } from "./place.js";
import {
  addressOf,
  decodeBatch,
  encodeAnswer,
  isProof,
  MESSAGE,
  MESSAGE_BYTES,
  proofOf,
  VERSION,
  WINDOW_BATCHES,
  WINDOW_BYTES,
  type WireBatch,
  type WireRow,
} from "./protocol.js";

/** Options of `serveSource`. */
export interface ServeOptions {
  /** What the source's addresses are. */
  readonly kind: Connector["kind"];
  /** Who has it may read. At least 16 characters. */
  readonly token: string;
  /** Clients may write, where the source can; default false. */
  readonly write?: boolean | undefined;
  /** Certificate and key in PEM, for TLS. */
  readonly tls?: { readonly cert: string | Uint8Array; readonly key: string | Uint8Array } | undefined;
  /** Listen at other machines' reach without TLS; default false. */
  readonly plain?: boolean | undefined;
  /** Clients at the same time; default 8. */
  readonly clients?: number | undefined;
  /** Milliseconds in which a client must have shown that it has the token; default 10,000. */
  readonly loginTime?: number | undefined;
  /** Whether answers are compressed; default `auto`: when it takes less time than it saves. */
  readonly compress?: Compression | undefined;
  /** Is told of clients that come and go, and of those that are refused. */
  readonly onEvent?: ((event: string) => void) | undefined;
}

/** A source that is served. */
export interface ServedSource {
  /** Where: with the port that the system chose, if it was 0. */
  readonly place: NetPlace;
  /** Resolves when it is served no more. */
  readonly ended: Promise<void>;
  /** Tells clients goodbye, and closes the source. */
  close(): Promise<void>;
}

/** Where `ServeOptions.loginTime` says nothing. */
const LOGIN_TIME = 10_000;
/** Milliseconds between two looks at what ranges there are, of a live source. */
const RANGES_PERIOD = 1000;
/** Bytes that wait to be sent to a client before no more is done for it. */
const MAX_WAITING = 8 * 2 ** 20;
/** Connections that have not shown yet that they have the token. Of more, those that came first are dropped. */
const MOST_STRANGERS = 32;
/** Connections that count as one client: two, and what was lost of them and still seems to be there. */
const MOST_OF_ONE = 4;
/** Characters of a source's name that clients are told. */
const MOST_NAME = 512;

/** See `serveSource`. */
export async function serve(source: Source, place: NetPlace, options: ServeOptions): Promise<ServedSource> {
  const name = placeText(place);
  if (options.token.length < 16)
    throw new ConnectorError("BAD_TOKEN", name, "the token is too short: 16 characters at least");
  if (!isLocal(place) && options.tls === undefined && options.plain !== true) {
    throw new ConnectorError(
      "NOT_LOCAL",
      name,
      "other machines can reach it: give a certificate and a key, or say that it may be without TLS",
    );
  }
  const { tls } = options;
  const secureContext =
    tls === undefined
      ? undefined
      : createSecureContext({
          cert: Buffer.from(tls.cert),
          key: Buffer.from(tls.key),
          minVersion: "TLSv1.2",
        });
  const served = new Served(source, options);
  // (Whoever does not even begin with TLS is a stranger as others are, with the same time and the same bound.)
  const server = createServer((raw) =>
    served.welcome(secureContext === undefined ? raw : new TLSSocket(raw, { isServer: true, secureContext })),
  );
  // Those who are told why they are refused stay for a moment.
  server.maxConnections = MOST_OF_ONE * served.most + 2 * MOST_STRANGERS;
  try {
    await listen(server, place, name);
  } catch (error) {
    served.stop();
    throw error;
  }
  server.on("error", (error) => options.onEvent?.(`a connection could not be taken (${error.message})`));
  const address = server.address();
  const at: NetPlace =
    place.host !== undefined && typeof address === "object" && address !== null
      ? { host: place.host, port: address.port }
      : place;
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let closing: Promise<void> | undefined;
  return {
    place: at,
    ended,
    close: () => {
      closing ??= (async () => {
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        try {
          await served.close();
        } finally {
          // (Also of a source that could not be closed well: that is told by this promise.)
          await closed;
          end();
        }
      })();
      return closing;
    },
  };
}

async function listen(server: Server, place: NetPlace, name: string): Promise<void> {
  // Nobody else may come to a socket between its making and its mode.
  const before = place.path === undefined ? undefined : process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      if (place.path === undefined) server.listen(place.port, place.host, resolve);
      else server.listen(place.path, resolve);
    });
    if (place.path !== undefined) chmodSync(place.path, 0o600);
  } catch (cause) {
    const code = errnoName(cause);
    const hint =
      code === "EADDRINUSE"
        ? place.path === undefined
          ? ": another program listens there"
          : ": there is such a file already; remove it if nobody listens there"
        : "";
    throw new ConnectorError("LISTEN_FAILED", name, `it is not possible to listen there (${code})${hint}`, {
      cause,
    });
  } finally {
    if (before !== undefined) process.umask(before);
  }
}

/** A source, and all who read it. */
class Served {
  readonly options: ServeOptions;
  readonly io: SourceIo;
  readonly rows: PacketIo<readonly WireRow[]>;
  readonly most: number;
  readonly #clients = new Set<Client>();
  /** In the order in which they came. */
  readonly #strangers = new Set<Client>();
  #known = "";
  #timer: NodeJS.Timeout | undefined;

  constructor(source: Source, options: ServeOptions) {
    this.options = options;
    this.most = options.clients ?? 8;
    const io = new SourceIo(source, new Scheduler());
    this.io = io;
    this.rows = layer(io.scheduler, (rows: readonly WireRow[], view) => {
      let rest: BoundView | undefined = view;
      for (const row of rows) {
        const piece: BoundView | undefined = rest;
        if (piece === undefined) return;
        rest = piece.length > row.length ? piece.split(row.length) : undefined;
        io.sendIo(addressOf(row), piece);
      }
    });
    if (!source.supports.live) return;
    this.#timer = setInterval(() => this.tellRanges(), RANGES_PERIOD);
    this.#timer.unref();
  }

  welcome(socket: Socket): void {
    this.#strangers.add(new Client(this, socket));
    const [first] = this.#strangers;
    if (this.#strangers.size > MOST_STRANGERS) first?.drop("others came, and it had not logged in");
  }

  /** A stranger has the token. @returns whether there is room for one more; further connections of a client need none. */
  admit(client: Client): boolean {
    const sessions = [...this.#clients].map(({ session }) => session);
    const own = sessions.filter((session) => session === client.session).length;
    if (own === 0 || own >= MOST_OF_ONE) {
      if (new Set(sessions).size >= this.most) return false;
      // (Then it counts as another one.)
      if (own > 0) client.session = client;
    }
    this.#strangers.delete(client);
    this.#clients.add(client);
    return true;
  }

  leave(client: Client): void {
    this.#strangers.delete(client);
    this.#clients.delete(client);
  }

  /** What there is now, as clients are told, each text a message. */
  existing(): readonly string[] {
    // A target that has gone: reads say so.
    return this.#askExisting() ?? [NOTHING_THERE];
  }

  #askExisting(): readonly string[] | undefined {
    try {
      return existingText(this.io.source, this.io.ranges);
    } catch {
      return undefined;
    }
  }

  tellRanges(): void {
    if (this.#clients.size === 0) return;
    const existing = this.#askExisting();
    // (Who knows of ranges goes on asking for them, and hears why they can't be read.)
    if (existing === undefined) return;
    const text = existing.join("\n");
    if (text === this.#known) return;
    this.#known = text;
    for (const client of this.#clients) client.tell(existing);
  }

  /** Looks no more at what there is. */
  stop(): void {
    clearInterval(this.#timer);
  }

  async close(): Promise<void> {
    this.stop();
    for (const client of [...this.#strangers, ...this.#clients]) client.refuse("it is served no more");
    await this.io.close();
  }
}

const THREW = fault("io", "device", "connector");

/** One connection. */
class Client {
  readonly #served: Served;
  readonly #stream: MessageStream;
  readonly #who: string;
  readonly #nonce = randomBytes(24).toString("base64");
  /** Of its client's connections: what it called itself, or itself. */
  session: string | Client = this;
  #isKnown = false;
  #timer: NodeJS.Timeout;
  #batches = 0;
  #bytes = 0;
  /** Whether a question for the notes is under way. */
  #isAsking = false;
  /** Whether it was not told of what changed, because it does not read. */
  #missed = false;

  constructor(served: Served, socket: Socket) {
    this.#served = served;
    this.#who = socket.remoteAddress ?? "a local program";
    socket.setNoDelay?.(true);
    socket.setKeepAlive?.(true, 10_000);
    this.#stream = new MessageStream(socket, {
      message: (type, body) => this.#take(type, body),
      closed: (why) => this.#left(why),
    });
    socket.on("drain", () => this.#pace());
    this.#timer = setTimeout(
      () => this.#stream.end(new Error("it did not log in in time")),
      served.options.loginTime ?? LOGIN_TIME,
    );
    this.#timer.unref();
    this.#stream.sendText(MESSAGE.challenge, {
      protocol: "memtool net",
      version: VERSION,
      nonce: this.#nonce,
    });
  }

  get #mayWrite(): boolean {
    const { options, io } = this.#served;
    return options.write === true && io.source.supports.write;
  }

  #tellHost(event: string): void {
    this.#served.options.onEvent?.(`${this.#who}: ${event}`);
  }

  #left(why: Error): void {
    clearTimeout(this.#timer);
    this.#served.leave(this);
    this.#tellHost(this.#isKnown ? `gone (${why.message})` : `refused (${why.message})`);
  }

  /** @param again Whether there is any use in coming back. */
  refuse(problem: string, again = false): void {
    this.#stream.sendText(MESSAGE.goodbye, { problem, ...(again ? { again } : {}) });
    this.#stream.end(new Error(problem));
  }

  /** Ends it at once, and tells it nothing. */
  drop(why: string): void {
    this.#stream.end(new Error(why));
    this.#stream.socket.destroy();
  }

  tell(existing: readonly string[]): void {
    if (!this.#isKnown) return;
    this.#missed = this.#stream.waiting > MAX_WAITING;
    if (this.#missed) return;
    for (const text of existing) this.#stream.send(MESSAGE.ranges, Buffer.from(text));
  }

  #take(type: number, body: Uint8Array): void {
    if (!this.#isKnown) {
      if (type !== MESSAGE.login) throw new MalformedError("no login");
      this.#login(parseObject(body));
    } else if (type === MESSAGE.batch) {
      const batch = decodeBatch(body);
      // The client was told that it can't: it has no business here.
      if (batch.direction === "write" && !this.#mayWrite)
        throw new MalformedError("a write, where none is allowed");
      void this.#answer(batch);
    } else if (type === MESSAGE.ask) void this.#tellNotes();
    else throw new MalformedError(`a message of type ${type}`);
  }

  #login(login: Readonly<Record<string, unknown>>): void {
    const { token, kind, compress = "auto" } = this.#served.options;
    const { nonce, proof, compress: wish, session } = login;
    if (typeof nonce !== "string" || nonce.length < 16 || nonce.length > 256)
      throw new MalformedError("no nonce");
    const nonces = `${this.#nonce} ${nonce}`;
    if (!isProof(proof, token, "client", nonces)) return this.refuse("the token is another one");
    const { most, io } = this.#served;
    if (typeof session === "string" && session.length >= 16 && session.length <= 64) this.session = session;
    if (!this.#served.admit(this))
      return this.refuse(`it serves ${most === 1 ? "a client" : `${most} clients`} already`, true);
    clearTimeout(this.#timer);
    this.#isKnown = true;
    this.#stream.trust();
    const { name, ...facts } = factsOf(io.source, kind);
    this.#stream.compression = agreedCompression(compress, wish);
    this.#stream.sendText(MESSAGE.welcome, {
      name: name.slice(0, MOST_NAME),
      ...facts,
      compress: this.#stream.compression,
      write: this.#mayWrite,
      notes: (io.source as Partial<MachineSource>).notes !== undefined,
      proof: proofOf(token, "server", nonces),
    });
    this.tell(this.#served.existing());
    this.#tellHost("connected");
  }

  async #tellNotes(): Promise<void> {
    // One at a time: nothing says how long they are, nor how long they take.
    this.#isAsking = true;
    this.#pace();
    let answer: Buffer;
    try {
      const { notes } = this.#served.io.source as Partial<MachineSource>;
      const found = await notes?.call(this.#served.io.source);
      answer = textOf({ notes: notesToJson(found ?? { cpus: [] }) });
      if (answer.length > MESSAGE_BYTES) {
        answer = textOf({
          problem: `the machine's notes are too long for a message: ${answer.length} bytes`,
        });
      }
    } catch (error) {
      answer = textOf({ problem: error instanceof Error ? error.message : String(error) });
    }
    this.#isAsking = false;
    this.#stream.send(MESSAGE.notes, answer);
    this.#pace();
  }

  async #answer(batch: WireBatch): Promise<void> {
    const { id, direction, rows, bytes, payload } = batch;
    this.#batches++;
    this.#bytes += bytes;
    this.#pace();
    const packet =
      direction === "read" ? Packet.reading(new Uint8Array(bytes)) : Packet.writing(payload.slice());
    let holes = [{ start: 0, end: bytes, fault: THREW, state: "io" as const }] as ReturnType<Packet["holes"]>;
    try {
      if (rows.length === 0) holes = [];
      else {
        await send(this.#served.rows, rows, packet);
        holes = packet.holes();
      }
    } catch {
      // (Nothing throws for bytes that can't be read: this is a bug of the source, and its bytes are not known.)
    }
    this.#batches--;
    this.#bytes -= bytes;
    this.#stream.send(
      MESSAGE.answer,
      encodeAnswer(id, holes, direction === "read" ? packet.bytes : undefined),
    );
    this.#pace();
  }

  /** Reads from the client only while it has not too much under way, and reads what it gets. */
  #pace(): void {
    const isSlow = this.#stream.waiting > MAX_WAITING;
    if (this.#missed && !isSlow) this.tell(this.#served.existing());
    const isFull = this.#isAsking || this.#batches >= WINDOW_BATCHES || this.#bytes >= WINDOW_BYTES || isSlow;
    if (isFull) this.#stream.pause();
    else this.#stream.resume();
  }
}

function textOf(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
