/** The doors to memory elsewhere. Node's network and TLS are loaded when one of them is opened. */
import type { Source } from "../../src/io/index.js";
import type { NetOptions, NetSource } from "./net-source.js";
import type { NetPlace } from "./place.js";
import type { ServedSource, ServeOptions } from "./serve.js";

/**
 * Opens what a server of memory serves. Its source answers asynchronously.
 *
 * Reads whose connection is lost are asked again when it is back; writes fail as `io` (ECONNRESET), as nobody knows whether they
 * landed. When the server does not come back, or says goodbye, everything is `gone`.
 *
 * @throws {ConnectorError} `CONNECT_FAILED`, `NOT_LOCAL`, `READ_ONLY`.
 */
export async function openNet(place: NetPlace, options: NetOptions): Promise<NetSource> {
  return (await import("./net-source.js")).openNetSource(place, options);
}

/**
 * Serves a source at a TCP port or a UNIX socket, to those who have the token. It closes the source when it ends.
 *
 * A place that other machines can reach needs `tls`, or `plain`. Each client has at most 8 MiB under way, and as much that waits for
 * it to be read; it is not read from meanwhile. Who sends what is no message is cut off.
 *
 * @example
 * const served = await serveSource(openProcess(1234), { host: "127.0.0.1", port: 0 }, { kind: "virtual", token });
 *
 * @throws {ConnectorError} `NOT_LOCAL`, `BAD_TOKEN`, `LISTEN_FAILED`.
 */
export async function serveSource(
  source: Source,
  place: NetPlace,
  options: ServeOptions,
): Promise<ServedSource> {
  return (await import("./serve.js")).serve(source, place, options);
}
