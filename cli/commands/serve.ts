/** `memtool serve`: a target for another memtool, at a port or a UNIX socket. */
import { randomBytes, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  type MachineSource,
  type MeteredSource,
  type ServedSource,
  serveSource,
} from "../../connectors/connectors.js";
import { cleanUpAfter } from "../../connectors/errors.js";
import { isLocal, type NetPlace, parsePlace, placeText } from "../../connectors/net/place.js";
import { openTarget, parseTarget } from "../../connectors/registry.js";
import { MemtoolError } from "../../src/io/index.js";
import { describeSystemError, EXIT, UsageError } from "../errors.js";
import { escapeText, toJson } from "../render/escape.js";
import { metricsLines } from "../render/metrics.js";
import { type Environment, type GlobalOptions, targetOf, writeWarning } from "../session.js";

/** Options as the command line has them. */
export interface ServeCommandOptions {
  readonly listen?: string;
  readonly tokenFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly plain?: boolean;
  readonly clients?: string;
  readonly compress?: string;
}

/** Checks them. @throws {UsageError} */
export function serveOptions(options: ServeCommandOptions, globals: GlobalOptions) {
  const { listen = "127.0.0.1:0", tlsCert, tlsKey, clients = "8", compress = "auto", plain } = options;
  for (const [name, value] of [
    ["--pid", globals.pid],
    ["--root", globals.root],
    ["--physical", globals.physical],
    ["--ept", globals.ept],
    ["--map", globals.map],
    ["--swap", globals.swap],
    ["--mmu", globals.mmu],
    ["--types", globals.types],
    ["--symbols", globals.symbols],
    ["--kaslr", globals.kaslr],
    ["--dump-format", globals.dumpFormat],
  ]) {
    if (value !== undefined)
      throw new UsageError(`serve serves a target as it is: give ${name} to whoever reads it`);
  }
  const place = parsePlace(listen);
  if (place === undefined)
    throw new UsageError(`--listen ${listen.slice(0, 80)}: HOST:PORT, [IPV6]:PORT or unix:PATH`);
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new UsageError("--tls-cert and --tls-key belong together");
  if (!isLocal(place) && tlsCert === undefined && plain !== true) {
    throw new UsageError(
      `--listen ${listen}: other machines can reach it, and everybody on the way could read along: give --tls-cert and --tls-key, or --plain if that may be`,
    );
  }
  if (!/^[1-9]\d{0,3}$/.test(clients))
    throw new UsageError(`--clients ${clients.slice(0, 80)}: a number from 1 to 9999`);
  if (compress !== "auto" && compress !== "always" && compress !== "never")
    throw new UsageError(`--compress ${compress.slice(0, 80)}: auto, always or never`);
  return { place, clients: Number(clients), compress } as const;
}

/** Serves until it is interrupted. @returns the exit status. */
export async function serve(
  options: ServeCommandOptions,
  globals: GlobalOptions,
  environment: Environment,
): Promise<number> {
  const { place, clients, compress } = serveOptions(options, globals);
  const { tlsCert, tlsKey, tokenFile, plain } = options;
  const tls =
    tlsCert === undefined || tlsKey === undefined
      ? undefined
      : { cert: read("--tls-cert", tlsCert), key: read("--tls-key", tlsKey) };
  const given =
    tokenFile === undefined ? environment.env.MEMTOOL_TOKEN : read("--token-file", tokenFile).trim();
  const token = given === undefined || given === "" ? randomBytes(24).toString("base64url") : given;
  const { write, freeze } = globals;
  const text = textOf(globals, environment);
  for (const name of ["cache", "age"]) {
    if (parseTarget(text).options.has(name)) {
      throw new UsageError(`serve keeps nothing of what it reads: give ${name} to whoever reads it`);
    }
  }
  const { source, kind } = await openTarget(text, { write, freeze });
  const { warnings = [] } = source as Partial<MachineSource>;
  for (const warning of warnings) writeWarning(environment, warning);
  let served: ServedSource;
  try {
    served = await serveSource(source, place, {
      kind,
      token,
      write,
      tls,
      plain,
      clients,
      compress,
      onEvent: (event) => environment.stderr.write(`memtool: ${escapeText(event)}\n`),
    });
  } catch (error) {
    throw await cleanUpAfter(error, () => source.close?.());
  }
  const fingerprint =
    tls === undefined
      ? undefined
      : new X509Certificate(tls.cert).fingerprint256.replace(/:/g, "").toLowerCase();
  const isNew = token !== given;
  tell(environment, globals, {
    name: source.name,
    place: served.place,
    writes: globals.write === true && source.supports.write,
    token: isNew ? token : undefined,
    fingerprint,
    plain: !isLocal(place) && tls === undefined,
  });
  await environment.out.flush();
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const end = () => {
    // (The next one ends the program, if a read that hangs holds up the close.)
    for (const name of signals) process.off(name, end);
    // What is wrong with it is told below.
    served.close().catch(() => {});
  };
  for (const name of signals) process.on(name, end);
  await served.ended;
  const metrics = (source as Partial<MeteredSource>).metrics?.();
  if (metrics !== undefined)
    writeWarning(environment, `what passed through ${source.name}:`, metricsLines(metrics));
  await served.close();
  return EXIT.ok;
}

/** The target in a connector's form, whose last colon keeps a path from being taken for options. */
function textOf(globals: GlobalOptions, { env }: Environment): string {
  const target = targetOf(globals, env);
  if (typeof target === "object" && "connector" in target) return target.connector;
  const paths = typeof target === "string" ? [target] : target;
  if (paths.length > 1) throw new UsageError("serve serves one file: give one -f");
  return `file:${paths[0]}:`;
}

function read(option: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new MemtoolError("NO_FILE", `${option} ${path}: ${describeSystemError(error)}`);
  }
}

interface Told {
  readonly name: string;
  readonly place: NetPlace;
  readonly writes: boolean;
  /** If it was made up now. */
  readonly token: string | undefined;
  readonly fingerprint: string | undefined;
  readonly plain: boolean;
}

function tell(environment: Environment, { json }: GlobalOptions, told: Told): void {
  const { name, place, writes, token, fingerprint, plain } = told;
  const at = placeText(place);
  const options = [
    ...(fingerprint === undefined ? [] : [`fingerprint=${fingerprint}`]),
    ...(plain ? ["plain=true"] : []),
    ...(writes ? ["write=true"] : []),
  ];
  const connector = `net:${at}${options.length === 0 ? "" : `:${options.join(",")}`}`;
  if (json === true) {
    environment.out.text(`${toJson({ serves: name, listen: at, writes, token, fingerprint, connector })}\n`);
    return;
  }
  environment.out.text(
    `serving ${escapeText(name)} at ${escapeText(at)}${writes ? ", for reading and writing" : ""}\n`,
  );
  if (token !== undefined) environment.out.text(`token: ${token}\n`);
  const variable = `MEMTOOL_TOKEN=${token ?? "…"}`;
  environment.out.text(`read it with: ${variable} memtool info -c ${escapeText(connector)}\n`);
}
