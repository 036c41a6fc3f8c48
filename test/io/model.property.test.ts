/**
 * Any tree of layers that split, remap, refuse and delay, over memory or a source, against a plain array: the same
 * bytes and the same holes whether driven synchronously or not, every packet complete exactly once, nothing outside
 * the caller's range, no byte of a failed range reported good.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  all,
  type BoundView,
  type Fragment,
  type Hole,
  layer,
  MemoryIo,
  Packet,
  type PacketIo,
  Scheduler,
  SourceIo,
  send,
  toCallback,
  withFallback,
  withMapping,
  withSplitting,
} from "../../src/index.js";
import { delaying, memorySource, REFUSED, refusing } from "../suite/index.js";

const SIZE = 256;

type Tree =
  | { readonly kind: "memory" }
  | { readonly kind: "source"; readonly mode: "both" | "sync"; readonly broken: readonly [number, number] }
  | { readonly kind: "split"; readonly size: number; readonly over: Tree }
  | { readonly kind: "remap"; readonly pieces: readonly number[]; readonly over: Tree }
  | { readonly kind: "refuse"; readonly size: number; readonly seed: number; readonly over: Tree }
  | { readonly kind: "reverse"; readonly size: number; readonly over: Tree }
  | { readonly kind: "fallback"; readonly size: number; readonly seed: number; readonly over: Tree }
  | { readonly kind: "delay"; readonly turns: number; readonly over: Tree };

const { tree } = fc.letrec<{ tree: Tree }>((tie) => {
  const over = tie("tree");
  return {
    tree: fc.oneof(
      { depthSize: "small" },
      fc.constant<Tree>({ kind: "memory" }),
      fc.record({
        kind: fc.constant("source" as const),
        mode: fc.constantFrom("both" as const, "sync" as const),
        broken: fc.tuple(fc.nat(SIZE), fc.nat(40)),
      }),
      fc.record({ kind: fc.constant("split" as const), size: fc.integer({ min: 1, max: 70 }), over }),
      fc.record({
        kind: fc.constant("remap" as const),
        pieces: fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 3 }),
        over,
      }),
      fc.record({
        kind: fc.constant("refuse" as const),
        size: fc.integer({ min: 1, max: 50 }),
        seed: fc.nat(1000),
        over,
      }),
      fc.record({ kind: fc.constant("reverse" as const), size: fc.integer({ min: 1, max: 30 }), over }),
      fc.record({
        kind: fc.constant("fallback" as const),
        size: fc.integer({ min: 1, max: 50 }),
        seed: fc.nat(1000),
        over,
      }),
      fc.record({ kind: fc.constant("delay" as const), turns: fc.integer({ min: 1, max: 6 }), over }),
    ),
  };
});

const refuses = (seed: number) => (block: number) => ((block + 1) * 2654435761 + seed * 40503) % 7 < 2;

/** Forwards the pieces of a view last one first, so that fragments are answered out of order. */
function reversing(io: PacketIo<number>, size: number): PacketIo<number> {
  return layer(io.scheduler, (address: number, view: BoundView) => {
    const pieces = [view];
    let last = view;
    while (last.length > size) {
      last = last.split(size);
      pieces.push(last);
    }
    pieces.reverse().forEach((piece, i) => {
      io.sendIo(address + (pieces.length - 1 - i) * size, piece);
    });
  });
}

/** The layers of a tree over `bytes`, and the plain-array model: where each address leads, or nowhere. */
function build(
  node: Tree,
  bytes: Uint8Array,
  async: boolean,
  scheduler: Scheduler,
): [PacketIo<number>, Model] {
  switch (node.kind) {
    case "memory":
      return [new MemoryIo(bytes, { scheduler }), (at) => (at < SIZE ? at : -1)];
    case "source": {
      const [start, length] = node.broken;
      const broken = [{ start, end: Math.min(SIZE, start + length) }];
      const io = new SourceIo(memorySource(bytes, { mode: async ? node.mode : "sync", broken }), scheduler);
      return [io, (at) => (at >= SIZE || (at >= start && at < start + length) ? -1 : at)];
    }
    case "split": {
      const [io, model] = build(node.over, bytes, async, scheduler);
      return [withSplitting(io, node.size), model];
    }
    case "remap": {
      const [io, model] = build(node.over, bytes, async, scheduler);
      // Eight blocks of 32 bytes, shuffled; blocks that are left out are missing.
      const mapped = withMapping(
        io,
        node.pieces.map((block, i) => ({ start: i * 32, size: 32, target: block * 32 })),
      );
      return [
        mapped,
        (at) => {
          const block = node.pieces[Math.floor(at / 32)];
          return block === undefined ? -1 : model(block * 32 + (at % 32));
        },
      ];
    }
    case "refuse": {
      const [io, model] = build(node.over, bytes, async, scheduler);
      const no = refuses(node.seed);
      return [refusing(io, node.size, no), (at) => (no(Math.floor(at / node.size)) ? -1 : model(at))];
    }
    case "reverse": {
      const [io, model] = build(node.over, bytes, async, scheduler);
      return [reversing(io, node.size), model];
    }
    case "fallback": {
      const [io, model] = build(node.over, bytes, async, scheduler);
      const no = refuses(node.seed);
      return [withFallback(refusing(io, node.size, no), io, (fault) => fault === REFUSED), model];
    }
    case "delay": {
      const [io, model] = build(node.over, bytes, async, scheduler);
      return [async ? delaying(io, node.turns) : io, model];
    }
  }
}

/** Index into the bytes that an address leads to, or -1. */
type Model = (address: number) => number;

const request = fc.record({
  address: fc.nat(SIZE + 20),
  length: fc.integer({ min: 1, max: 120 }),
  write: fc.boolean(),
  direct: fc.boolean(),
});
type Request = { address: number; length: number; write: boolean; direct: boolean };

interface Outcome {
  readonly bytes: number[];
  readonly holes: { readonly start: number; readonly end: number }[];
}

const GUARD = 8;
const fresh = () => Uint8Array.from({ length: SIZE }, (_, i) => (i * 7 + 3) & 255);
const written = (request: Request, i: number) => (request.address * 5 + i * 11 + 1) & 255;

/** One request through the layers, checked for all that holds without a model. */
function prepare(io: PacketIo<number>, request: Request, signal?: AbortSignal) {
  const memory = new Uint8Array(request.length + 2 * GUARD).fill(0xee);
  const mine = memory.subarray(GUARD, GUARD + request.length);
  if (request.write) for (let i = 0; i < mine.length; i++) mine[i] = written(request, i);
  const packet = request.write
    ? Packet.writing(mine, { direct: request.direct })
    : Packet.reading(mine, { direct: request.direct });
  const answered = new Uint8Array(request.length);
  const output = toCallback((fragment: Fragment) => {
    for (let i = fragment.start; i < fragment.end; i++) answered[i] = (answered[i] as number) + 1;
  });
  const finish = (): Outcome => {
    expect(packet.complete).toBe(true);
    expect([...answered]).toEqual(new Array(request.length).fill(1));
    expect([...memory.subarray(0, GUARD), ...memory.subarray(GUARD + request.length)]).toEqual(
      new Array(2 * GUARD).fill(0xee),
    );
    const holes = packet.holes();
    const parts = [...packet.good(), ...holes].sort((a, b) => a.start - b.start);
    let at = 0;
    for (const part of parts) {
      expect(part.start).toBe(at);
      at = part.end;
    }
    expect(at).toBe(request.length);
    expect(packet.clamp).toBe(holes[0]?.start ?? request.length);
    return { bytes: [...mine], holes: joined(holes) };
  };
  return { operation: send(io, request.address, packet, output, { signal }), finish };
}

/** Holes by extent only: the fault may differ between neighbours. */
function joined(holes: readonly Hole[]): { start: number; end: number }[] {
  const result: { start: number; end: number }[] = [];
  for (const { start, end } of holes) {
    const last = result[result.length - 1];
    if (last?.end === start) last.end = end;
    else result.push({ start, end });
  }
  return result;
}

/** What a request must give, and what it does to the array. */
function expected(model: Model, bytes: Uint8Array, request: Request): Outcome {
  const result = new Array<number>(request.length);
  const holes: { start: number; end: number }[] = [];
  for (let i = 0; i < request.length; i++) {
    const at = model(request.address + i);
    result[i] = request.write ? written(request, i) : at < 0 ? 0xee : (bytes[at] as number);
    if (at >= 0 && request.write) bytes[at] = written(request, i);
    if (at >= 0) continue;
    const last = holes[holes.length - 1];
    if (last?.end === i) last.end = i + 1;
    else holes.push({ start: i, end: i + 1 });
  }
  return { bytes: result, holes };
}

describe("any tree of layers behaves as a plain array", () => {
  it("driven synchronously, one request after the other", () => {
    fc.assert(
      fc.property(tree, fc.array(request, { maxLength: 8 }), (node, requests) => {
        const bytes = fresh();
        const model = fresh();
        const [io, where] = build(node, bytes, false, new Scheduler());
        for (const request of requests) {
          const { operation, finish } = prepare(io, request);
          operation.sync();
          expect(finish()).toEqual(expected(where, model, request));
        }
        expect(bytes).toEqual(model);
      }),
      { numRuns: 400 },
    );
  });

  it("awaited, one request after the other", async () => {
    await fc.assert(
      fc.asyncProperty(tree, fc.array(request, { maxLength: 6 }), async (node, requests) => {
        const bytes = fresh();
        const model = fresh();
        const [io, where] = build(node, bytes, true, new Scheduler());
        for (const request of requests) {
          const { operation, finish } = prepare(io, request);
          await operation;
          expect(finish()).toEqual(expected(where, model, request));
        }
        expect(bytes).toEqual(model);
      }),
      { numRuns: 300 },
    );
  });

  it("awaited together: reads in flight side by side", async () => {
    await fc.assert(
      fc.asyncProperty(
        tree,
        fc.array(request, { maxLength: 20 }),
        fc.integer({ min: 1, max: 40 }),
        async (node, requests, highWaterMark) => {
          const bytes = fresh();
          const [io, where] = build(node, bytes, true, new Scheduler({ highWaterMark }));
          const reads = requests.map((each) => ({ ...each, write: false }));
          const prepared = reads.map((each) => prepare(io, each));
          await all(prepared.map(({ operation }) => operation));
          prepared.forEach(({ finish }, i) => {
            expect(finish()).toEqual(expected(where, bytes, reads[i] as Request));
          });
        },
      ),
      { numRuns: 200 },
    );
  });

  it("aborted at any time: every byte is good, and then right, or has a reason; the layers go on", async () => {
    await fc.assert(
      fc.asyncProperty(
        tree,
        fc.array(request, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 10 }),
        fc.nat(20),
        async (node, requests, highWaterMark, when) => {
          const bytes = fresh();
          const [io, where] = build(node, bytes, true, new Scheduler({ highWaterMark }));
          const reads = requests.map((each) => ({ ...each, write: false }));
          const controller = new AbortController();
          const prepared = reads.map((each) => prepare(io, each, controller.signal));
          const pending = all(prepared.map(({ operation }) => operation)).promise();
          for (let i = 0; i < when; i++) await Promise.resolve();
          controller.abort();
          const packets = await pending;
          prepared.forEach(({ finish }, i) => {
            finish();
            const { address } = reads[i] as Request;
            const packet = packets[i] as Packet;
            for (const { start, end } of packet.good()) {
              for (let at = start; at < end; at++) {
                expect(packet.bytes[at]).toBe(bytes[where(address + at)]);
              }
            }
            for (const { start, end, state } of packet.holes()) {
              if (state === "aborted") continue;
              for (let at = start; at < end; at++) expect(where(address + at)).toBe(-1);
            }
          });
          const { operation, finish } = prepare(io, reads[0] as Request);
          await operation;
          expect(finish()).toEqual(expected(where, bytes, reads[0] as Request));
        },
      ),
      { numRuns: 200 },
    );
  });
});

it("writes that overlap land in the order in which they were started, whatever is driven how", async () => {
  const step = fc.record({
    address: fc.nat(12),
    length: fc.integer({ min: 1, max: 8 }),
    pause: fc.nat(8),
    cut: fc.integer({ min: 1, max: 8 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 20 }),
      fc.constantFrom("sync" as const, "async" as const, "both" as const),
      fc.integer({ min: 1, max: 6 }),
      async (steps, mode, highWaterMark) => {
        const bytes = new Uint8Array(24);
        const model = new Uint8Array(24);
        const io = new SourceIo(memorySource(bytes, { mode }), new Scheduler({ highWaterMark }));
        const pending: Promise<unknown>[] = [];
        for (const [i, { address, length, pause, cut }] of steps.entries()) {
          const value = new Uint8Array(length).fill(i + 1);
          model.set(value, address);
          pending.push(send(withSplitting(io, cut), address, Packet.writing(value)).promise());
          for (let turn = 0; turn < pause; turn++) await Promise.resolve();
        }
        await Promise.all(pending);
        expect(bytes).toEqual(model);
        expect([io.scheduler.pending, io.scheduler.waiting]).toEqual([0, 0]);
      },
    ),
    { numRuns: 200 },
  );
});
