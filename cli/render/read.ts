import { MemtoolError } from "../../src/io/index.js";
import type { Output } from "../output.js";
import type { Piece } from "../pieces.js";
import type { Style } from "../style.js";
import { toJson } from "./escape.js";
import { HexDump } from "./hexdump.js";
import { reasonOf, reasonText } from "./hole.js";
import { hex } from "./numbers.js";

/** How `read` shows bytes. */
export type ReadFormat = "hex" | "raw" | "json";

/** Checked options of `read`. */
export interface ReadOptions {
  readonly format: ReadFormat;
  /** Stands for bytes that could not be read. */
  readonly fill: number | undefined;
  readonly skipHoles: boolean;
  readonly squeeze: boolean;
}

type Hole = Extract<Piece, { fault: number }>;

/** Shows the pieces of one request after another. */
export interface ReadEmitter {
  begin(address: bigint): void;
  data(address: bigint, bytes: Uint8Array): Promise<void> | void;
  /** @throws {MemtoolError} where the format can't show a hole. */
  hole(hole: Hole): Promise<void> | void;
  end(): void;
}

/** Bytes of a line of JSON. */
const LINE = 65_536;

/** The emitter for a format. */
export function makeEmitter(out: Output, options: ReadOptions, style: Style): ReadEmitter {
  switch (options.format) {
    case "hex":
      return hexEmitter(out, options, style);
    case "json":
      return jsonEmitter(out);
    case "raw":
      return rawEmitter(out, options);
  }
}

function hexEmitter(out: Output, options: ReadOptions, style: Style): ReadEmitter {
  let dump: HexDump | undefined;
  let first = true;
  return {
    begin(address) {
      if (!first) out.text("\n");
      first = false;
      dump = new HexDump(address, { squeeze: options.squeeze, dim: style.dim, columns: out.columns });
    },
    async data(_address, bytes) {
      // A line of 16 bytes is five times as long as they are: in pieces, so that the reader sets the pace.
      for (let at = 0; at < bytes.length; at += LINE) {
        out.text(dump?.data(bytes.subarray(at, at + LINE)) ?? "");
        await out.settle();
      }
    },
    hole({ length, fault }) {
      out.text(dump?.hole(length, reasonText(reasonOf(fault))) ?? "");
    },
    end() {
      out.text(dump?.end() ?? "");
    },
  };
}

function jsonEmitter(out: Output): ReadEmitter {
  return {
    begin() {},
    async data(address, bytes) {
      for (let at = 0; at < bytes.length; at += LINE) {
        const part = bytes.subarray(at, at + LINE);
        const digits = Buffer.from(part.buffer, part.byteOffset, part.length).toString("hex");
        out.text(`${toJson({ address: hex(address + BigInt(at)), length: part.length, hex: digits })}\n`);
        await out.settle();
      }
    },
    hole({ address, length, fault }) {
      out.text(`${toJson({ address: hex(address), length: lengthOf(length), ...reasonOf(fault) })}\n`);
    },
    end() {},
  };
}

/** A length as JSON has it: a number while that is exact, else "0x…" as all values of 64 bits. */
function lengthOf(length: bigint): number | string {
  return length <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(length) : hex(length);
}

function rawEmitter(out: Output, options: ReadOptions): ReadEmitter {
  const { fill, skipHoles } = options;
  const filler = fill === undefined ? undefined : new Uint8Array(LINE).fill(fill);
  return {
    begin() {},
    data: (_address, bytes) => out.bytes(bytes),
    async hole({ address, length, fault }) {
      if (skipHoles) return;
      if (filler === undefined) {
        throw new MemtoolError(
          "HOLE",
          `stopped at ${hex(address)}: ${length} bytes could not be read (${reasonText(reasonOf(fault))}); ` +
            "--fill BYTE writes that byte for each, --skip-holes leaves them out",
        );
      }
      for (let left = length; left > 0n; left -= BigInt(LINE)) {
        await out.bytes(left < BigInt(LINE) ? filler.subarray(0, Number(left)) : filler);
      }
    },
    end() {},
  };
}
