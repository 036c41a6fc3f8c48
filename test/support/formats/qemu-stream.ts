import fc from "fast-check";
import { pattern } from "../bytes.js";
import { ImageModel } from "../dump.js";
import type { DumpSample, FormatCase } from "../format-suite.js";
import { encodeXbzrle, type OtherSection, type StreamPage, writeQemuStream } from "../write-qemu-stream.js";
import { text } from "./text.js";

/** Pages of 1 KiB, the smallest that QEMU has, keep files small. */
const BITS = 10;
const PAGE = 2 ** BITS;

const slirp = (type: OtherSection["type"], content: Uint8Array): OtherSection => ({
  type,
  id: 9,
  name: "slirp",
  content,
});
const ram = (page: number, kind: StreamPage["kind"], bytes?: Uint8Array, more: object = {}): StreamPage => ({
  block: "pc.ram",
  page,
  kind,
  ...(bytes === undefined ? {} : { bytes }),
  ...more,
});
const page = (seed: number) => pattern(PAGE, seed);
/** A delta that changes nothing: what comes before it in a file that is cut is no other moment's. */
const SAME = (bytes: Uint8Array) => new Uint8Array([5, 3, ...bytes.subarray(5, 8)]);

const options = {
  machine: "pc-q35-7.2",
  pageBits: BITS,
  uuid: pattern(16, 1),
  blocks: [
    { name: "pc.ram", length: 12 * PAGE },
    { name: "vga.vram", length: 2 * PAGE },
  ],
  before: [slirp("start", new Uint8Array(0))],
  between: [slirp("part", text("\x7e\0\0\0\x09 and other text"))],
  command: true,
};
export const smallStream = writeQemuStream({
  ...options,
  rounds: [
    [
      ram(0, "page", page(1)),
      ram(1, "page", page(3)),
      ram(2, "zero"),
      ram(3, "compress", page(4)),
      ram(5, "fill", undefined, { fill: 0x5a }),
      { block: "vga.vram", page: 1, kind: "page", bytes: page(5) },
      ram(7, "compress", page(6)),
      ram(8, "zero"),
    ],
    [ram(1, "page", page(3)), ram(3, "xbzrle", page(4), { encoded: SAME(page(4)) })],
    [
      ram(1, "xbzrle", page(3), { encoded: SAME(page(3)) }),
      ram(3, "xbzrle", page(4), { encoded: SAME(page(4)) }),
    ],
  ],
  endAfterRam: true,
});

/** Rounds of random pages, in which later copies change earlier ones. */
const sent = fc.record({
  page: fc.nat(19),
  kind: fc.constantFrom("page", "page", "zero", "fill", "compress", "xbzrle"),
  seed: fc.nat(1000),
});
const rounds = fc.array(fc.array(sent, { maxLength: 24 }), { minLength: 1, maxLength: 4 });

export const streamSamples = fc
  .record({ rounds, nodes: fc.boolean(), footers: fc.boolean(), named: fc.boolean(), noEnd: fc.boolean() })
  .map(({ rounds, nodes, footers, named, noEnd }): DumpSample => {
    const model = new ImageModel(20 * PAGE);
    model.mark(0, 20 * PAGE, "excluded");
    const now = new Map<number, Uint8Array>();
    const pages = rounds.map((round) =>
      round.map(({ page: at, kind, seed }): StreamPage => {
        const from = now.get(at);
        const fill = seed % 255;
        let bytes = kind === "zero" ? new Uint8Array(PAGE) : pattern(PAGE, seed);
        if (kind === "fill") bytes = new Uint8Array(PAGE).fill(fill);
        // A delta needs an earlier copy; QEMU sends none that changes nothing or is longer than the page.
        const delta = kind === "xbzrle" && from !== undefined ? encodeXbzrle(from, bytes).length : 0;
        const changed = delta > 0 && delta <= PAGE;
        now.set(at, bytes);
        model.present(at * PAGE, bytes);
        const block = nodes ? (at < 8 ? "ram-node0" : "ram-node1") : "pc.ram";
        return {
          block,
          page: nodes && at >= 8 ? at - 8 : at,
          kind: kind === "xbzrle" && !changed ? "page" : kind,
          bytes,
          named,
          ...(from === undefined ? {} : { from }),
          ...(kind === "fill" ? { fill } : {}),
        };
      }),
    );
    const blocks = nodes
      ? [
          { name: "ram-node1", length: 12 * PAGE },
          { name: "ram-node0", length: 8 * PAGE },
        ]
      : [{ name: "pc.ram", length: 20 * PAGE }];
    const file = writeQemuStream({
      machine: "pc-i440fx-7.2",
      pageBits: BITS,
      blocks,
      rounds: pages,
      footers,
      noEnd,
    });
    return { file, model };
  });

const base = 16 * 4096;
const bytes = pattern(3 * 4096, 7);
const third = bytes.slice(8192).fill(0x11, 100, 900);
export const streamPackets = {
  file: writeQemuStream({
    machine: "pc-i440fx-7.2",
    blocks: [{ name: "pc.ram", length: 32 * 4096 }],
    rounds: [
      [
        ram(16, "page", bytes.subarray(0, 4096)),
        ram(17, "compress", bytes.subarray(4096, 8192)),
        ram(18, "page", third),
      ],
      [ram(18, "xbzrle", bytes.subarray(8192), { from: third })],
    ],
  }),
  base,
  ram: bytes,
  missing: { bytes: 50, state: "excluded" },
};

export const qemuStream: FormatCase = {
  name: "a QEMU migration stream",
  small: { file: smallStream },
  size: 0x4000,
  fields: [
    { start: 0, end: 360 },
    { start: smallStream.length - 140, end: smallStream.length },
  ],
  bigEndian: true,
  recognisedFrom: 4,
  cut: /ends/,
  samples: streamSamples,
  packets: streamPackets,
};
