/** Both ends of lines to memory that is served: on the loopback, at ports that the system chooses, and closed when a test is over. */
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach } from "vitest";
import { openNet, serveSource } from "../../connectors/net/net.js";
import type { NetPlace } from "../../connectors/net/place.js";
import { proofOf } from "../../connectors/net/protocol.js";
import type { ServedSource, ServeOptions } from "../../connectors/net/serve.js";
import type { Source } from "../../src/io/index.js";
import { ioOf } from "./sources.js";

export const TOKEN = "a token of some length";
export const LOOPBACK: NetPlace = { host: "127.0.0.1", port: 0 };

/** Options of a client. */
export type ClientOptions = Partial<Parameters<typeof openNet>[1]>;

/** How an impostor behaves when it lets somebody in. */
export interface ImpostorOptions {
  /** What its welcome says besides. */
  readonly welcome?: Readonly<Record<string, unknown>>;
  /** Whether it tells what there is; default true. */
  readonly ranges?: boolean;
  /** What it does then. */
  readonly onWelcome?: (socket: Socket) => void;
}

/** A message as bytes. */
export function frame(type: number, body: unknown, claimed?: number): Buffer {
  const bytes = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  const header = Buffer.alloc(12);
  header[0] = type;
  header.writeUInt32LE(claimed ?? bytes.length, 4);
  header.writeUInt32LE(claimed ?? bytes.length, 8);
  return Buffer.concat([header, bytes]);
}

/** The next whole message of a type that comes, as bytes. */
export async function nextOf(socket: Socket, type: number): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  for (;;) {
    while (bytes.length >= 12 && bytes.length >= 12 + bytes.readUInt32LE(4)) {
      if (bytes[0] === type) return bytes.subarray(0, 12 + bytes.readUInt32LE(4));
      bytes = bytes.subarray(12 + bytes.readUInt32LE(4));
    }
    bytes = Buffer.concat([bytes, ((await once(socket, "data")) as [Buffer])[0]]);
  }
}

/** What a test file opens of both ends. */
export function netPeers() {
  /** What a test opened, and did not close itself; the first goes first. */
  const open: { close?(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close?.();
  });

  async function serving(
    source: Source,
    options: Partial<ServeOptions> = {},
    place = LOOPBACK,
  ): Promise<ServedSource> {
    const served = await serveSource(source, place, { kind: "physical", token: TOKEN, ...options });
    open.push(served);
    return served;
  }

  async function client(served: { readonly place: NetPlace }, options: ClientOptions = {}) {
    const source = await openNet(served.place, { token: TOKEN, retry: 200, ...options });
    const io = ioOf(source);
    open.unshift(io);
    return { source, io };
  }

  async function listening(server: Server): Promise<{ host: string; port: number }> {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    open.push({ close: () => void server.close() });
    return { host: "127.0.0.1", port: (server.address() as { port: number }).port };
  }

  /** A client by hand, which is let in if `login`. */
  async function raw(served: ServedSource, login = true, wish: Readonly<Record<string, unknown>> = {}) {
    const socket = connect(served.place.port as number, "127.0.0.1");
    open.unshift({ close: () => socket.destroy() });
    socket.on("error", () => {});
    const closed = once(socket, "close");
    const [challenge] = (await once(socket, "data")) as [Buffer];
    const { nonce } = JSON.parse(challenge.subarray(12).toString()) as { nonce: string };
    if (login) {
      const mine = "n".repeat(32);
      socket.write(frame(2, { nonce: mine, proof: proofOf(TOKEN, "client", `${nonce} ${mine}`), ...wish }));
      await once(socket, "data");
    }
    return { socket, closed };
  }

  /** So many connections that say nothing. */
  async function silent({ port, host }: NetPlace, count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const socket = connect(port as number, host);
      open.unshift({ close: () => socket.destroy() });
      socket.on("error", () => {});
      await once(socket, "connect");
    }
  }

  /** A server that lets everybody in who has the token, and then says what it likes. @returns where it is. */
  function impostor(
    say: (socket: Socket, asked: Buffer) => void,
    { welcome = {}, ranges = true, onWelcome = () => {} }: ImpostorOptions = {},
  ): Promise<NetPlace> {
    const theirs = "s".repeat(32);
    return listening(
      createServer((socket) => {
        socket.on("error", () => {});
        socket.write(frame(1, { protocol: "memtool net", version: 1, nonce: theirs }));
        socket.once("data", (login: Buffer) => {
          const { nonce } = JSON.parse(login.subarray(12).toString()) as { nonce: string };
          const proof = proofOf(TOKEN, "server", `${theirs} ${nonce}`);
          socket.write(frame(3, { name: "evil", kind: "physical", live: true, proof, ...welcome }));
          if (ranges) socket.write(frame(6, { ranges: [["0x0", "0x10000"]] }));
          onWelcome(socket);
          socket.on("data", (asked: Buffer) => say(socket, asked));
        });
      }),
    );
  }

  return { open, serving, client, listening, raw, silent, impostor };
}
