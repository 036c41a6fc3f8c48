/** A connection to a stub: requests and their answers, in order, as many under way as the stub can take. */
import { connect, type Socket } from "node:net";
import { MemtoolError } from "../../src/io/index.js";
import { bytesOf, encodePacket, GdbProtocolError, PacketReader, textOf } from "./packets.js";

/** Where a stub listens. */
export type StubAddress = { readonly path: string } | { readonly host: string; readonly port: number };

/** A stub that can't be talked to (any more). */
export class GdbError extends MemtoolError {}

interface Request {
  readonly packet: Uint8Array;
  /** Whether it can be the answer; others are what the stub says of its own accord. */
  readonly fits: (answer: Uint8Array) => boolean;
  tries: number;
  /** Whether the stub has said that it got it. */
  isTaken: boolean;
  resolve(answer: Uint8Array): void;
  reject(error: GdbError): void;
}

/** Milliseconds in which an answer comes. */
const ANSWER = 10_000;
/** Milliseconds in which a connection is made. */
const CONNECT = 10_000;
/** Bytes that no packet of a stub has. */
const LONGEST = 4 * 2 ** 20;
/** Times that a packet is sent again, or asked for again. */
const TRIES = 5;
/** The words that a packet was taken, and that it is wanted again. */
const PLUS = 0x2b;
const MINUS = 0x2d;
/** First bytes that are kept to tell what speaks there, and how many an error shows. */
const FIRST = 64;
const SHOWN = 24;
/**
 * How others begin that listen on ports: HTTP, SSH, VNC, mail, Redis, QMP, TLS. Other bytes before the first packet may be
 * what a serial line's console still had to say, and are passed over.
 */
const FOREIGN = [..."HTTP/|SSH-|RFB |-ERR|+OK |<html".split("|"), '{"QMP"', "\x15\x03", "\x16\x03"] as const;

/** A stub's own word: the machine stopped (S, T, W, X, N), or it prints something (O). */
function isStopReply(answer: Uint8Array): boolean {
  const [first = 0, second] = answer;
  return "STWXN".includes(String.fromCharCode(first)) || (first === 0x4f && second !== 0x4b);
}

/** Whatever came, in one line of printable characters. */
function escaped(text: string): string {
  return text.replace(
    /[^\x20-\x7e]/g,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

/** What answers most requests. */
export function isAnswer(answer: Uint8Array): boolean {
  return !isStopReply(answer);
}

/** First in, first out; also of many thousands. */
class Queue<T> {
  #items: T[] = [];
  #taken = 0;

  push(item: T): void {
    this.#items.push(item);
  }

  take(): T | undefined {
    if (this.#taken === this.#items.length) {
      this.#items = [];
      this.#taken = 0;
      return undefined;
    }
    return this.#items[this.#taken++];
  }
}

/** See the module's comment. */
export class GdbConnection {
  readonly #socket: Socket;
  readonly #reader = new PacketReader(LONGEST);
  /** Those that are under way, in their order, and those that wait. */
  readonly #requests: Request[] = [];
  readonly #waiting = new Queue<Request>();
  readonly #timeout: number;
  #timer: NodeJS.Timeout | undefined;
  #damaged = 0;
  /** The first bytes that came. */
  #first = "";
  #hasSpoken = false;
  #closed: GdbError | undefined;
  /** Requests that may be under way at once. */
  window = 1;
  /** Whether packets are acknowledged. */
  acknowledges = true;

  private constructor(
    readonly name: string,
    socket: Socket,
    timeout: number,
  ) {
    this.#socket = socket;
    this.#timeout = timeout;
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", (cause) =>
      this.#end(
        this.#hasSpoken
          ? new GdbError("GDB_CLOSED", `${name}: ${cause.message}`, { cause })
          : this.#noStub(undefined, cause),
      ),
    );
    socket.on("close", () =>
      this.#end(
        this.#hasSpoken
          ? new GdbError("GDB_CLOSED", `${name}: the stub closed the connection`)
          : this.#noStub(),
      ),
    );
  }

  /**
   * Connects.
   *
   * @param timeout Milliseconds in which it is connected, and in which an answer comes; default 10,000. @throws {GdbError} `GDB_REFUSED`, `GDB_TIMEOUT`.
   */
  static async connect(name: string, address: StubAddress, timeout = ANSWER): Promise<GdbConnection> {
    const socket = "path" in address ? connect(address.path) : connect(address.port, address.host);
    const patience = Math.min(CONNECT, timeout);
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        timer = setTimeout(
          () => reject(new GdbError("GDB_TIMEOUT", `${name}: no connection within ${patience / 1000} s`)),
          patience,
        );
        socket.once("connect", resolve);
        socket.once("error", (cause) =>
          reject(
            new GdbError("GDB_REFUSED", `${name}: there is no stub to connect to (${cause.message})`, {
              cause,
            }),
          ),
        );
      });
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    socket.setNoDelay(true);
    return new GdbConnection(name, socket, timeout);
  }

  /** Whether anything came that is of the protocol: a whole packet, or the word that one was taken. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  /** Whether nothing came at all until the time was over. */
  get isSilent(): boolean {
    return this.#first === "" && this.#closed?.code === "GDB_TIMEOUT";
  }

  /** Why it is of no use any more. */
  get closed(): GdbError | undefined {
    return this.#closed;
  }

  /**
   * Sends a request.
   *
   * @param fits Which packets can be its answer. @returns the answer's data. @throws {GdbError} once the connection has ended.
   */
  ask(data: string | Uint8Array, fits: (answer: Uint8Array) => boolean = isAnswer): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) return reject(this.#closed);
      const packet = encodePacket(typeof data === "string" ? bytesOf(data) : data);
      this.#waiting.push({ packet, fits, tries: 0, isTaken: false, resolve, reject });
      this.#send();
    });
  }

  /** The same, of text. */
  async askText(data: string, fits?: (answer: Uint8Array) => boolean): Promise<string> {
    return textOf(await this.ask(data, fits));
  }

  close(): void {
    this.#end(new GdbError("GDB_CLOSED", `${this.name}: closed`));
  }

  /** Sends as many of the requests as may be under way. */
  #send(): void {
    const packets: Uint8Array[] = [];
    while (this.#requests.length < this.window) {
      const request = this.#waiting.take();
      if (request === undefined) break;
      this.#requests.push(request);
      packets.push(request.packet);
    }
    if (packets.length > 0)
      this.#socket.write(packets.length === 1 ? (packets[0] as Uint8Array) : Buffer.concat(packets));
    this.#wind();
  }

  /** Time begins anew with every answer, not with what a stub says of its own accord: it may do that for ever. */
  #wind(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#requests.length === 0) return;
    this.#timer = setTimeout(() => this.#end(this.#lateError()), this.#timeout);
  }

  #lateError(): GdbError {
    if (!this.#hasSpoken) return this.#noStub(this.#timeout);
    const late = `${this.name}: the stub did not answer within ${this.#timeout / 1000} s`;
    const { junk } = this.#reader;
    return junk === 0
      ? new GdbError("GDB_TIMEOUT", late)
      : new GdbError(
          "GDB_PROTOCOL",
          `${late}, but sent ${junk} bytes that are in no packet: it may be no stub`,
        );
  }

  /** @param waited Milliseconds, where it is not the other side that ended it. @param cause What ended it. */
  #noStub(waited?: number, cause?: Error): GdbError {
    const first = this.#first;
    if (first !== "") {
      const sent = escaped(first.slice(0, SHOWN));
      return new GdbError(
        "GDB_PROTOCOL",
        `${this.name}: what answers there is no GDB stub: it sends ${sent}${first.length > SHOWN ? "…" : ""}`,
      );
    }
    return waited === undefined
      ? new GdbError(
          "GDB_CLOSED",
          `${this.name}: what listens there closed the connection without a word${cause === undefined ? "" : ` (${cause.message})`}: it is no GDB stub, or serves another client`,
          { cause },
        )
      : new GdbError(
          "GDB_TIMEOUT",
          `${this.name}: nothing came within ${waited / 1000} s: what listens there is no GDB stub, or serves another client (QEMU's may pause its machine for this connection when that one leaves)`,
        );
  }

  /** Looks whether the protocol is spoken. @returns whether it is still possible. */
  #meet(bytes: Buffer): boolean {
    this.#first += bytes.toString("latin1", 0, FIRST - this.#first.length);
    if (FOREIGN.some((begin) => this.#first.startsWith(begin))) {
      this.#end(this.#noStub());
      return false;
    }
    // (Amid a text, they mean nothing.)
    this.#hasSpoken = bytes[0] === PLUS || bytes[0] === MINUS;
    return true;
  }

  #receive(bytes: Buffer): void {
    if (!this.#hasSpoken && !this.#meet(bytes)) return;
    try {
      let packets = 0;
      let answers = 0;
      for (const received of this.#reader.push(bytes)) {
        if (this.#closed !== undefined) return;
        if (received.kind === "packet") {
          packets++;
          this.#hasSpoken = true;
          if (this.#answer(received.data)) answers++;
        } else if (received.kind === "ack") this.#take();
        else if (received.kind === "nak") this.#again();
        else if (received.kind === "damaged") this.#askAgain();
      }
      if (packets > 0 && this.acknowledges && this.#closed === undefined)
        this.#socket.write("+".repeat(packets));
      if (answers > 0) this.#send();
    } catch (cause) {
      if (!(cause instanceof GdbProtocolError)) throw cause;
      this.#end(new GdbError("GDB_PROTOCOL", `${this.name}: ${cause.message}`, { cause }));
    }
  }

  /** @returns whether somebody waited for it. */
  #answer(data: Uint8Array): boolean {
    this.#damaged = 0;
    const [request] = this.#requests;
    if (request === undefined || !request.fits(data)) return false;
    this.#requests.shift();
    request.resolve(data);
    return true;
  }

  /** The stub got a request. */
  #take(): void {
    const request = this.#requests.find(({ isTaken }) => !isTaken);
    if (request !== undefined) request.isTaken = true;
  }

  /** The stub got the request wrong; one that it got right it would answer twice, and so all that follow wrongly. */
  #again(): void {
    const [request] = this.#requests;
    if (!this.acknowledges || request === undefined || request.isTaken || this.window > 1) return;
    if (++request.tries > TRIES) {
      return this.#end(new GdbError("GDB_PROTOCOL", `${this.name}: the stub refuses every packet`));
    }
    this.#socket.write(request.packet);
  }

  #askAgain(): void {
    // (With several under way nobody can tell which one it answers.)
    if (!this.acknowledges || this.window > 1 || ++this.#damaged > TRIES) {
      return this.#end(new GdbError("GDB_PROTOCOL", `${this.name}: the stub's packets have wrong sums`));
    }
    this.#socket.write("-");
  }

  #end(error: GdbError): void {
    this.#closed ??= error;
    clearTimeout(this.#timer);
    for (const { reject } of this.#requests.splice(0)) reject(this.#closed);
    for (let one = this.#waiting.take(); one !== undefined; one = this.#waiting.take())
      one.reject(this.#closed);
    this.#socket.destroy();
  }
}
