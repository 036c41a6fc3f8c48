import { all, faultState } from "../../src/io/index.js";
import { statusOf, UsageError } from "../errors.js";
import { readLines } from "../lines.js";
import { END_OF_SPACE, parseAddress, parseByte, parseReadLine, parseSize } from "../parse.js";
import { type Piece, type PieceOptions, piecesOf, readPieces } from "../pieces.js";
import { escapeText } from "../render/escape.js";
import { makeEmitter, type ReadFormat, type ReadOptions } from "../render/read.js";
import type { Session } from "../session.js";
import { HoleSummary } from "../summary.js";
import { noteSwapped } from "../swapped.js";

/** Bytes that are read where no length is given. */
const DEFAULT_LENGTH = 256n;
/** Requests up to this long are read side by side, up to this many bytes of them at a time. */
const SMALL = 65_536n;
const GROUP_BYTES = 4n << 20n;

/** One range that somebody asked for. */
interface Request {
  readonly address: bigint;
  readonly length: bigint;
}

/** Options as the command line has them. */
export interface ReadCommandOptions {
  readonly length?: string;
  readonly stdin?: boolean;
  readonly format?: string;
  readonly fill?: string;
  readonly skipHoles?: boolean;
  readonly squeeze?: boolean;
  readonly zeroExcluded?: boolean;
}

/** Checks the options. @throws {UsageError} */
export function readOptions(options: ReadCommandOptions, json: boolean): ReadOptions {
  const format = json && options.format === undefined ? "json" : (options.format ?? "hex");
  if (format !== "hex" && format !== "raw" && format !== "json") {
    throw new UsageError(`--format ${escapeText(format)}: one of hex, raw, json`);
  }
  if (json && format !== "json") throw new UsageError(`--json and --format ${format} exclude each other`);
  const fill = options.fill === undefined ? undefined : parseByte(options.fill);
  if (fill !== undefined && options.skipHoles === true) {
    throw new UsageError("--fill and --skip-holes exclude each other");
  }
  if (format !== "raw" && (fill !== undefined || options.skipHoles === true)) {
    throw new UsageError("--fill and --skip-holes are for --format raw");
  }
  return {
    format: format satisfies ReadFormat,
    fill,
    skipHoles: options.skipHoles ?? false,
    squeeze: options.squeeze ?? true,
  };
}

/** `memtool read`. @returns the exit status. */
export async function read(
  session: Session,
  addresses: readonly string[],
  options: ReadCommandOptions,
): Promise<number> {
  const { out } = session;
  const emitter = makeEmitter(
    out,
    readOptions(options, session.options.json ?? false),
    session.environment.style,
  );
  const length = options.length === undefined ? DEFAULT_LENGTH : parseSize(options.length);
  const summary = new HoleSummary();
  const pieces: PieceOptions = { zeroExcluded: options.zeroExcluded ?? false };
  let badLines = 0;
  let requests = 0;
  let swappedAt: bigint | undefined;

  for await (const group of groups()) {
    requests += group.length;
    for await (const [request, list] of answers(session, group, pieces)) {
      emitter.begin(request.address);
      for await (const piece of list) {
        if ("fault" in piece) {
          summary.hole(piece.address, piece.length, piece.fault);
          if (faultState(piece.fault) === "swapped") swappedAt ??= piece.address;
          await emitter.hole(piece);
        } else {
          summary.good(piece.bytes.length);
          await emitter.data(piece.address, piece.bytes);
        }
        await out.settle();
      }
      emitter.end();
    }
    await out.flush();
  }
  summary.report(session);
  await noteSwappedAt(session, swappedAt);
  const bad = badLines > 0 || summary.bytesMissing > 0n;
  return statusOf(summary.bytesGood > 0n || (requests > 0 && summary.bytesMissing === 0n), bad);

  async function* groups(): AsyncGenerator<Request[], void, void> {
    if (options.stdin !== true) {
      if (addresses.length === 0) throw new UsageError("no address: give one or more, or --stdin");
      const list: Request[] = [];
      // All are checked before the first is read.
      for (const text of addresses)
        list.push(checkRange(await session.resolve(parseAddress(text)), length, text));
      yield list;
      return;
    }
    if (addresses.length > 0)
      throw new UsageError("--stdin reads the addresses from standard input: give none as arguments");
    for await (const lines of readLines(session.environment.stdin)) {
      const list: Request[] = [];
      for (const line of lines) {
        try {
          if (line.text === undefined) throw new UsageError("longer than 64 KiB");
          const parsed = parseReadLine(line.text);
          if (parsed === undefined) continue;
          const address = await session.resolve(parsed.address);
          list.push(checkRange(address, parsed.length ?? length, line.text.trim()));
        } catch (error) {
          badLines++;
          session.report(error, `line ${line.number}: `);
        }
      }
      yield list;
    }
  }
}

/** Says how the first page that is in a swap area could be read. */
async function noteSwappedAt(session: Session, address: bigint | undefined): Promise<void> {
  const { virtual } = session.space;
  if (address === undefined || virtual === undefined) return;
  const { steps } = await virtual.walk(address);
  const absent = steps.at(-1)?.absent;
  if (absent !== undefined) noteSwapped(session, address, absent);
}

/** @throws {UsageError} for a range beyond the end of the address space. */
function checkRange(address: bigint, length: bigint, text: string): Request {
  if (address + length > END_OF_SPACE) {
    throw new UsageError(
      `${text}: ${length} bytes from 0x${address.toString(16)} on cross the end of the address space (2^64); ` +
        `at most 0x${(END_OF_SPACE - address).toString(16)} fit`,
    );
  }
  return { address, length };
}

type Answer = readonly [Request, Iterable<Piece> | AsyncIterable<Piece>];

/** The answers in the order of the requests; short ones that follow each other are read together. */
async function* answers(
  session: Session,
  requests: readonly Request[],
  options: PieceOptions,
): AsyncGenerator<Answer, void, void> {
  const { space } = session;
  for (let first = 0; first < requests.length; ) {
    const request = requests[first] as Request;
    const narrow = space.map !== undefined;
    const isSmall = ({ address, length }: Request) =>
      length <= SMALL && (!narrow || address + length <= 1n << 53n);
    if (!isSmall(request)) {
      const onProgress = (done: bigint, total: bigint) => session.progress("reading", done, total);
      yield [request, readPieces(space, request.address, request.length, { ...options, onProgress })];
      first++;
      continue;
    }
    let end = first;
    let bytes = 0n;
    while (end < requests.length && isSmall(requests[end] as Request) && bytes <= GROUP_BYTES) {
      bytes += (requests[end] as Request).length;
      end++;
    }
    const group = requests.slice(first, end);
    const transfers = await all(
      group.map(({ address, length }) =>
        space.memory.readPartial(length === 0n ? 0n : address, Number(length)),
      ),
    );
    for (let i = 0; i < group.length; i++) {
      const one = group[i] as Request;
      yield [one, piecesOf(one.address, transfers[i] as (typeof transfers)[number], options)];
    }
    first = end;
  }
}
