/** `net:` as a connector: its options, and what they become. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Source } from "../../src/io/index.js";
import type { Connector, OptionValues } from "../connector.js";
import { ConnectorError, errnoName } from "../errors.js";
import type { Compression } from "./message-stream.js";
import { parsePlace } from "./place.js";

/** `net:HOST:PORT`, `net:unix:PATH`. */
export const NET: Connector = {
  // The server says what it is.
  kind: "physical",
  about: "what memtool serve serves, on this machine or another",
  options: {
    token: "string",
    "token-file": "string",
    write: "boolean",
    tls: "boolean",
    fingerprint: "string",
    ca: "string",
    plain: "boolean",
    compress: "string",
    retry: "duration",
    timeout: "duration",
    sync: "boolean",
  },
  open: openTarget,
};

/** Opens a target of `net:`. @internal */
export async function openTarget(
  target: string,
  options: OptionValues,
  session: string = randomUUID(),
): Promise<Source> {
  const name = target === "" ? "net" : `net:${target}`;
  const place = parsePlace(target);
  if (place === undefined)
    throw new ConnectorError("BAD_TARGET", name, "write net:HOST:PORT, net:[IPV6]:PORT or net:unix:PATH");
  const token = tokenOf(name, options);
  const { fingerprint, ca, compress = "auto", retry, timeout } = options;
  if (!["auto", "always", "never"].includes(compress as string))
    throw new ConnectorError("BAD_OPTION", name, `compress is auto, always or never, not "${compress}"`);
  if (typeof fingerprint === "string" && !/^[0-9a-f]{64}$/i.test(fingerprint))
    throw new ConnectorError("BAD_OPTION", name, "fingerprint is 64 hex digits, as the server prints them");
  const tls =
    options.tls === true || fingerprint !== undefined || ca !== undefined
      ? {
          fingerprint: fingerprint as string | undefined,
          ca: ca === undefined ? undefined : readText(name, String(ca), "the certificate"),
        }
      : undefined;
  const { openNetSource } = await import("./net-source.js");
  const source = await openNetSource(place, {
    token,
    tls,
    compress: compress as Compression,
    session,
    write: options.write === true,
    plain: options.plain === true,
    ...(typeof retry === "number" ? { retry } : {}),
    ...(typeof timeout === "number" ? { timeout } : {}),
  });
  if (options.sync !== true) return source;
  try {
    const { openInWorker } = await import("../worker-source.js");
    const { workerUrl } = await import("../start-worker.js");
    const { withSyncDoor } = await import("./sync-door.js");
    const plain = { ...options, token, "token-file": undefined, sync: false };
    return withSyncDoor(
      source,
      await openInWorker(workerUrl("net-source"), { options: { target, options: plain, session } }),
    );
  } catch (error) {
    await source.close?.();
    throw error;
  }
}

function tokenOf(name: string, options: OptionValues): string {
  const file = options["token-file"];
  if (typeof options.token === "string") return options.token;
  if (typeof file === "string") return readText(name, file, "the token").trim();
  const given = process.env.MEMTOOL_TOKEN;
  if (given !== undefined && given !== "") return given;
  throw new ConnectorError(
    "NO_TOKEN",
    name,
    "which token? The server was given one, or printed it: set MEMTOOL_TOKEN, or token-file=FILE (or token=…, which others can see in the list of processes)",
  );
}

function readText(name: string, path: string, what: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new ConnectorError(
      "OPEN_FAILED",
      name,
      `${what} can't be read from ${path} (${errnoName(cause)})`,
      {
        cause,
      },
    );
  }
}
