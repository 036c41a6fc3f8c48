/** One connection to a server of memory, from the first byte until it is over. */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { MalformedError } from "../byte-code.js";
import { errnoName } from "../errors.js";
import { parseObject, readFacts, type SourceFacts } from "../source-facts.js";
import { agreedCompression, type Compression, MessageStream, ProtocolError } from "./message-stream.js";
import type { NetPlace } from "./place.js";
import { isProof, MESSAGE, proofOf, VERSION } from "./protocol.js";

/** How to connect. */
export interface ConnectOptions {
  readonly token: string;
  /** TLS, and how the server is known: by its certificate's SHA-256, or by who signed it. */
  readonly tls?:
    | { readonly fingerprint?: string | undefined; readonly ca?: string | Uint8Array | undefined }
    | undefined;
  readonly compress: Compression;
  /** What connections of one client have in common: they count as one of the server's clients. */
  readonly session: string;
  /** Milliseconds without a sign of life while something is awaited. */
  readonly timeout: number;
}

/** What the server said when it let us in. */
export interface Welcome extends SourceFacts {
  readonly notes: boolean;
}

/** What becomes of a connection that is up. */
export interface ConnectionListener {
  /** @throws {MalformedError} */
  message(type: number, body: Uint8Array): void;
  arriving?(): void;
  closed(why: Error): void;
}

/** The server said that it is over, or refused us: there is no use in trying again. */
export class RefusedError extends Error {}

/** The server has as many clients as it takes: one of them may leave. */
export class FullError extends Error {}

/** The connection was over before the server, which speaks first, had said a word. */
export class NoWordError extends Error {}

/** A connection that is up. */
export interface Connection {
  readonly stream: MessageStream;
  readonly welcome: Welcome;
}

/** Connects and logs in. @throws {Error} of the system, {RefusedError}, {ProtocolError}. */
export async function openConnection(
  place: NetPlace,
  options: ConnectOptions,
  listener: ConnectionListener,
): Promise<Connection> {
  const socket = await connected(place, options);
  return await new Promise<Connection>((resolve, reject) => {
    let isUp = false;
    const nonce = randomBytes(24).toString("base64");
    let nonces = "";
    const fail = (why: Error) => {
      clearTimeout(timer);
      if (isUp) listener.closed(why);
      else if (nonces === "" && options.tls === undefined && isFailure(why)) {
        reject(new NoWordError(why.message, { cause: why }));
      } else reject(why);
    };
    const stream: MessageStream = new MessageStream(socket, {
      closed: fail,
      arriving: () => listener.arriving?.(),
      message: (type, body) => {
        if (type === MESSAGE.goodbye) {
          stream.end(goodbyeOf(body));
        } else if (isUp) listener.message(type, body);
        else if (type === MESSAGE.challenge && nonces === "") {
          nonces = `${challengeOf(body)} ${nonce}`;
          stream.sendText(MESSAGE.login, {
            nonce,
            proof: proofOf(options.token, "client", nonces),
            compress: options.compress,
            session: options.session,
          });
        } else if (type === MESSAGE.welcome && nonces !== "") {
          const json = parseObject(body);
          if (!isProof(json.proof, options.token, "server", nonces)) {
            stream.end(new RefusedError("the server does not have the token"));
            return;
          }
          isUp = true;
          clearTimeout(timer);
          stream.trust();
          stream.compression = agreedCompression(options.compress, json.compress);
          resolve({ stream, welcome: { ...readFacts(json), notes: json.notes === true } });
        } else throw new MalformedError(`a message of type ${type} before the welcome`);
      },
    });
    const timer = setTimeout(
      () => stream.end(new Error(`no answer within ${options.timeout} ms`)),
      options.timeout,
    );
    // (It may have ended before there was anybody to hear of it.)
    if (socket.destroyed) stream.end(new Error("the connection was closed"));
  });
}

/** Whether a connection failed, and was not ended by what was said. */
function isFailure(why: Error): boolean {
  return !(isFinal(why) || why instanceof FullError || why instanceof MalformedError);
}

function goodbyeOf(body: Uint8Array): Error {
  const { problem, again } = parseObject(body);
  const text = `the server says: ${typeof problem === "string" ? problem.slice(0, 200) : "goodbye"}`;
  return again === true ? new FullError(text) : new RefusedError(text);
}

function challengeOf(body: Uint8Array): string {
  const { protocol, version, nonce } = parseObject(body);
  if (protocol !== "memtool net" || typeof nonce !== "string" || nonce.length < 16 || nonce.length > 256)
    throw new MalformedError("no challenge");
  if (version !== VERSION) {
    throw new MalformedError(`it speaks version ${Number(version)}, this memtool version ${VERSION}`);
  }
  return nonce;
}

/** A socket that is connected, and at whose other end is who should be. */
function connected(place: NetPlace, { tls, timeout }: ConnectOptions): Promise<Socket> {
  return new Promise<Socket>((resolve, reject) => {
    const { path, host = "", port = 0 } = place;
    const fingerprint = tls?.fingerprint?.toLowerCase().replace(/:/g, "");
    let socket: Socket | TLSSocket;
    if (tls === undefined) {
      socket = path === undefined ? connect(port, host) : connect(path);
    } else {
      const ca = tls.ca === undefined ? {} : { ca: Buffer.from(tls.ca) };
      socket = connectTls({
        ...(path === undefined ? { host, port } : { path }),
        ...ca,
        // Who is known by a certificate need not have it signed by anybody.
        rejectUnauthorized: fingerprint === undefined,
        minVersion: "TLSv1.2",
      });
    }
    const fail = (why: Error) => {
      clearTimeout(timer);
      socket.destroy();
      why.message = shortMessage(why);
      reject(why);
    };
    const timer = setTimeout(() => fail(new Error(`no connection within ${timeout} ms`)), timeout);
    socket.on("error", fail);
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      if (fingerprint !== undefined) {
        const given = (socket as TLSSocket).getPeerX509Certificate()?.fingerprint256;
        const found = given?.toLowerCase().replace(/:/g, "");
        if (found !== fingerprint) {
          fail(new RefusedError(`its certificate has another fingerprint: ${found ?? "none"}`));
          return;
        }
      }
      clearTimeout(timer);
      socket.setNoDelay?.(true);
      socket.setKeepAlive?.(true, 10_000);
      resolve(socket);
    });
  });
}

/** Without the places in OpenSSL's source that its errors name, and what it leaves open at the end. */
function shortMessage(why: Error & { readonly reason?: unknown }): string {
  const text =
    why.message.includes(":SSL routines:") && typeof why.reason === "string" ? why.reason : why.message;
  return text.trim().replace(/:$/, "");
}

/** What a person can do about it. */
export function hintOf(error: unknown): string {
  if (error instanceof FullError)
    return ": come back when one has left (memtool serve --clients N takes more)";
  const code = errnoName(error);
  if (code === "ECONNREFUSED" || code === "ENOENT") return ": nobody listens there (memtool serve does)";
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return ": there is no such host";
  if (code === "EACCES" || code === "EPERM") return ": no permission";
  if (code?.startsWith("DEPTH_ZERO") || code?.includes("SELF_SIGNED") || code?.startsWith("UNABLE_TO")) {
    return ": nobody vouches for its certificate (ca=FILE, or fingerprint=…, which the server prints)";
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return ": fingerprint=…, which the server prints, accepts that one certificate";
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER")
    return ": is it served without TLS? Leave out tls, fingerprint and ca";
  if (error instanceof NoWordError)
    return ": it may be served with TLS (fingerprint=…, which the server prints, or ca=FILE)";
  return "";
}

/** Whether there is any use in trying again. */
export function isFinal(error: Error): boolean {
  return error instanceof RefusedError || error instanceof ProtocolError;
}
