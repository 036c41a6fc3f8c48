import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  layer,
  MemoryIo,
  Packet,
  type PacketIo,
  readInto,
  Scheduler,
  SourceIo,
  send,
  sendColumn,
  sendRecords,
  WouldBlockError,
  withSplitting,
} from "../../src/index.js";
import { memorySource } from "../suite/index.js";
import { counted, turns } from "./support.js";

const N = 2048;
const op = fc.record({
  kind: fc.constantFrom("read", "small", "column", "write", "split", "syncread", "turn"),
  at: fc.oneof(
    fc.integer({ min: 0, max: N + 20 }),
    fc.integer({ min: 590, max: 620 }),
    fc.integer({ min: 0, max: 40 }),
  ),
  length: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 60, max: 200 })),
  count: fc.integer({ min: 1, max: 6 }),
  abort: fc.constantFrom(0, 0, 0, 1, 2, 3),
  nested: fc.boolean(),
  seed: fc.integer({ min: 0, max: 1000 }),
});
describe("any traffic over any source", () => {
  it("accounts for every byte once", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(op, { minLength: 1, maxLength: 30 }),
        fc.constantFrom("sync" as const, "async" as const, "both" as const),
        fc.boolean(),
        fc.boolean(),
        fc.constantFrom(3, 10, 65536),
        async (ops, mode, wholeRows, live, hwm) => {
          const scheduler = new Scheduler({ highWaterMark: hwm });
          const bytes = new Uint8Array(2 * N);
          bytes.set(counted(N));
          for (let i = 0; i < N; i++) bytes[i] = (i * 7 + (i >> 8)) & 255;
          const model = bytes.slice();
          const broken = [
            { start: 600, end: 613 },
            { start: 5, end: 6 },
          ];
          const isBroken = (a: number) => a >= 2 * N || broken.some((b) => a >= b.start && a < b.end);
          const io = new SourceIo(
            memorySource(bytes, { mode, wholeRows, live, broken, gate: () => turns(5) }),
            scheduler,
          );
          const all: {
            packet: Packet;
            where: (i: number) => number;
            seen: Uint8Array;
            aborted: boolean;
            given: boolean;
          }[] = [];
          let wat = N + 64;
          const pendings: Promise<unknown>[] = [];
          const sync = (at: number) => {
            try {
              expect(readInto(io, at, 1).sync()[0]).toBe(model[at]);
            } catch (e) {
              if (!(e instanceof WouldBlockError)) {
                if (!isBroken(at)) throw e;
              }
            }
          };
          for (const o of ops) {
            const nested = { n: 0 };
            const make = (packet: Packet, where: (i: number) => number) => {
              const entry = {
                packet,
                where,
                seen: new Uint8Array(packet.length),
                aborted: false,
                given: false,
              };
              all.push(entry);
              const output = {
                onFragment: (f: { start: number; end: number; fault: number }) => {
                  for (let i = f.start; i < f.end; i++) entry.seen[i]!++;
                  if (o.nested && nested.n++ < 2) sync(o.seed);
                  if (o.abort === 3) {
                    const other = all[o.seed % all.length]!;
                    other.packet.abort();
                    other.aborted = true;
                  }
                },
              };
              return { entry, output };
            };
            if (o.kind === "turn") {
              await turns(o.count * 2);
              continue;
            }
            if (o.kind === "syncread") {
              sync(o.seed);
              continue;
            }
            let e: ReturnType<typeof make>;
            if (o.kind === "write") {
              const len = Math.min(o.length, 20);
              const at = wat;
              wat += len;
              const data = Uint8Array.from({ length: len }, (_, i) => (o.seed + i) & 255);
              const p = o.length % 2 && len <= 64 ? Packet.writing(len) : Packet.writing(data);
              p.bytes.set(data);
              e = make(p, (i) => at + i);
              io.sendIo(at, p.view().bind(e.output));
            } else if (o.kind === "column") {
              const size = Math.min(o.length, 24);
              const addrs = Array.from({ length: o.count }, (_, i) =>
                o.seed % 3 === 0 ? o.at + i * size : (o.at + i * 31 * o.seed) % N,
              );
              const p = Packet.reading(size * o.count);
              e = make(p, (i) => addrs[Math.floor(i / size)]! + (i % size));
              const words = new Uint32Array(2 * o.count);
              addrs.forEach((a, i) => {
                words[2 * i] = a;
              });
              sendColumn(io as PacketIo<never>, { words, size }, 0, p.view().bind(e.output));
            } else if (o.kind === "split") {
              const p = Packet.reading(new Uint8Array(o.length));
              e = make(p, (i) => o.at + i);
              withSplitting(io as PacketIo<number>, 8).sendIo(o.at, p.view().bind(e.output));
            } else {
              const p =
                o.kind === "small" ? Packet.reading(o.length) : Packet.reading(new Uint8Array(o.length));
              e = make(p, (i) => o.at + i);
              pendings.push(send(io, o.at, p, e.output).promise());
            }
            if (o.abort === 1) {
              e.entry.packet.abort();
              e.entry.aborted = true;
            }
            if (o.abort === 2 && o.kind !== "read" && o.kind !== "small") {
              e.entry.packet.giveUp();
              e.entry.given = true;
            }
          }
          await Promise.all(pendings);
          await turns(400);
          expect(scheduler.pending).toBe(0);
          for (const { packet, where, seen, aborted, given } of all) {
            expect(packet.complete).toBe(true);
            expect([...seen]).toEqual(new Array(packet.length).fill(1));
            let at = 0;
            const parts = [
              ...packet.good().map((r) => ({ ...r, ok: true })),
              ...packet.holes().map((h) => ({ start: h.start, end: h.end, ok: false, state: h.state })),
            ].sort((a, b) => a.start - b.start);
            for (const part of parts) {
              expect(part.start).toBe(at);
              at = part.end;
              for (let i = part.start; i < part.end; i++) {
                if (part.ok) {
                  expect(isBroken(where(i))).toBe(false);
                  if (packet.direction === "read")
                    where(i) < N && expect(packet.byteAt(i)).toBe(model[where(i)]);
                  else expect(bytes[where(i)]).toBe(packet.byteAt(i));
                } else if (!aborted && !given && !wholeRows) expect(isBroken(where(i))).toBe(true);
              }
            }
            expect(at).toBe(packet.length);
          }
          await io.close();
        },
      ),
      { numRuns: Number(process.env.RUNS ?? 2000) },
    );
  }, 300000);
});
void MemoryIo;
void layer;
void sendRecords;
