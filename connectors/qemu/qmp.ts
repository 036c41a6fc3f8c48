/** QEMU's control socket: the QEMU Machine Protocol, one command at a time (docs/interop/qmp-spec.txt of QEMU). */
import { connect, type Socket } from "node:net";
import { MemtoolError } from "../../src/io/index.js";
import type { MonitorAddress } from "./command-line.js";
import { type QmpMessage, QmpMessages } from "./qmp-messages.js";

/** Why a control socket is of no use. */
export class QmpError extends MemtoolError {
  /**
   * @param code `REFUSED` nobody listens there; `BUSY` another client has it; `TIMEOUT`, `CLOSED`, `NOT_QMP`; `OTHER_PROCESS` it is
   * not the monitor of the process that is meant; `COMMAND` QEMU refused a command.
   */
  constructor(code: string, problem: string, options?: { cause?: unknown }) {
    super(code, problem, options);
  }
}

interface Waiting {
  readonly id: number;
  resolve(message: QmpMessage): void;
  reject(error: Error): void;
}

/** Milliseconds in which QEMU says who it is; it does so at once, unless it serves somebody else. */
const GREETING = 1000;
/** Milliseconds in which a command is answered. */
const ANSWER = 20_000;
const GREETED = 0;

/** How an address is written: `/run/vm1.qmp`, `localhost:4444`. */
export function monitorName(address: MonitorAddress): string {
  return "path" in address ? address.path : `${address.host}:${address.port}`;
}

/** An open control socket. */
export class Qmp {
  readonly #socket: Socket;
  readonly #messages = new QmpMessages();
  readonly #waiting: Waiting[] = [];
  #lastId = GREETED;
  #closed: QmpError | undefined;

  private constructor(
    socket: Socket,
    readonly name: string,
  ) {
    this.#socket = socket;
    socket.on("data", (bytes: Buffer) => this.#receive(bytes));
    socket.on("error", (cause) => this.#end(new QmpError("CLOSED", `${name}: ${cause.message}`, { cause })));
    socket.on("close", () => this.#end(new QmpError("CLOSED", `${name}: QEMU closed its control socket`)));
  }

  /**
   * Connects, and makes it ready for commands.
   *
   * @throws {QmpError} `BUSY` where QEMU does not greet: it serves one client at a time.
   */
  static async connect(address: MonitorAddress): Promise<Qmp> {
    const name = monitorName(address);
    const socket = "path" in address ? connect(address.path) : connect(address.port, address.host);
    const qmp = new Qmp(socket, name);
    // It is nothing to stay alive for.
    socket.unref();
    try {
      const greeting = await qmp.#expect(
        GREETED,
        GREETING,
        () =>
          new QmpError(
            "BUSY",
            `${name}: QEMU does not answer there within ${GREETING} ms; another QMP client may have it (it serves one at a time)`,
          ),
      );
      if (!("QMP" in greeting))
        throw new QmpError("NOT_QMP", `${name}: what answers there is no QMP monitor`);
      await qmp.command("qmp_capabilities");
      return qmp;
    } catch (error) {
      qmp.close();
      const refused = error instanceof QmpError && error.code === "CLOSED" && !qmp.#socket.connecting;
      throw refused ? new QmpError("REFUSED", error.message, { cause: error }) : error;
    }
  }

  /**
   * Runs a command.
   *
   * @returns its `return` value. @throws {QmpError}
   */
  async command(name: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    if (this.#closed !== undefined) throw this.#closed;
    const id = ++this.#lastId;
    const answer = this.#expect(
      id,
      ANSWER,
      () => new QmpError("TIMEOUT", `${this.name}: QEMU did not answer ${name} within ${ANSWER / 1000} s`),
    );
    this.#socket.write(lineOf(name, args, id));
    const message = await answer;
    if ("return" in message) return message.return;
    const problem = fieldsOf(message.error).desc;
    throw new QmpError(
      "COMMAND",
      `${this.name}: QEMU refused ${name}: ${String(problem ?? "no reason given")}`,
    );
  }

  /** The same of a command that answers with an object; another answer is one without fields. */
  async ask(name: string): Promise<Readonly<Record<string, unknown>>> {
    return fieldsOf(await this.command(name));
  }

  /** The same of a command that answers with a list of objects; another answer is an empty one. */
  async list(name: string): Promise<Readonly<Record<string, unknown>>[]> {
    const answer = await this.command(name);
    return Array.isArray(answer) ? answer.map(fieldsOf) : [];
  }

  /** A line for the human monitor; what it prints. @throws {QmpError} */
  async monitor(line: string): Promise<string> {
    return String(await this.command("human-monitor-command", { "command-line": line }));
  }

  /** Of a connection over TCP. */
  get ports(): { readonly local: number; readonly remote: number } | undefined {
    const { localPort: local, remotePort: remote } = this.#socket;
    return local === undefined || remote === undefined ? undefined : { local, remote };
  }

  close(): void {
    this.#end(new QmpError("CLOSED", `${this.name}: closed`));
  }

  async #expect(id: number, milliseconds: number, late: () => QmpError): Promise<QmpMessage> {
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<QmpMessage>((resolve, reject) => {
        if (this.#closed !== undefined) return reject(this.#closed);
        // (A timer keeps the program alive, as an answer that is waited for should.)
        timer = setTimeout(() => this.#end(late()), milliseconds);
        this.#waiting.push({ id, resolve, reject });
      });
    } finally {
      clearTimeout(timer);
    }
  }

  #receive(bytes: Buffer): void {
    let messages: QmpMessage[];
    try {
      messages = this.#messages.push(bytes);
    } catch (cause) {
      this.#end(new QmpError("NOT_QMP", `${this.name}: what answers there does not speak QMP`, { cause }));
      return;
    }
    for (const message of messages) {
      if ("event" in message) continue;
      const id = "QMP" in message ? GREETED : message.id;
      // An answer without `id` is to a command that QEMU could not read, so to the oldest.
      const i = id === undefined ? 0 : this.#waiting.findIndex((waiting) => waiting.id === id);
      if (i >= 0) this.#waiting.splice(i, 1)[0]?.resolve(message);
    }
  }

  #end(error: QmpError): void {
    this.#closed ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#socket.destroy();
  }
}

/** Of what should be an object. */
export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function lineOf(name: string, args: Readonly<Record<string, unknown>> | undefined, id: number): string {
  return `${JSON.stringify({ execute: name, ...(args === undefined ? {} : { arguments: args }), id })}\n`;
}
