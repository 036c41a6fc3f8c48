import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  all,
  Io,
  IoSequence,
  Packet,
  type Routine,
  readInto,
  Scheduler,
  type Sink,
  SourceIo,
  send,
  settle,
} from "../../src/index.js";
import { memorySource } from "../suite/index.js";
import { counted, turns } from "./support.js";

function* two(a: SourceIo, b: SourceIo, at: number): Routine<number> {
  const [x] = yield* readInto(a, at & 255, 1);
  const [y] = yield* readInto(b, (x! * 3) & 255, 1);
  const [z] = yield* readInto(a, y!, 1);
  return z!;
}
function* seq(sink: Sink<number>, a: SourceIo, b: SourceIo, at: number, n: number): Routine<void> {
  for (let i = 0; i < n; i++) {
    yield sink.emit(yield* two(a, b, at + i));
    if (i === 1) yield* all([readInto(b, 3, 1), readInto(a, 4, 2)]);
  }
}
const expected = (at: number) => ((at & 255) * 3) & 255;
const op = fc.record({
  drive: fc.constantFrom(
    "sync",
    "promise",
    "nested",
    "seqSync",
    "seqAsync",
    "all",
    "turn",
    "abort",
    "nestedAnswer",
  ),
  at: fc.nat(255),
  n: fc.integer({ min: 1, max: 4 }),
  swap: fc.boolean(),
});
describe("drives that need several machines", () => {
  it("end, with every read answered right", async () => {
    const wb = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(op, { minLength: 1, maxLength: 14 }),
        fc.constantFrom("sync" as const, "both" as const),
        fc.constantFrom("sync" as const, "both" as const),
        fc.constantFrom(1, 2, 65536),
        fc.boolean(),
        async (ops, ma, mb, hwm, same) => {
          const sa = new Scheduler({ highWaterMark: hwm });
          const sb = same ? sa : new Scheduler({ highWaterMark: hwm });
          const sc = new Scheduler();
          const A = new SourceIo(memorySource(counted(), { mode: ma, gate: () => turns(7) }), sa);
          const B = new SourceIo(memorySource(counted(), { mode: mb, gate: () => turns(3) }), sb);
          const C = new SourceIo(memorySource(counted(), {}), sc);
          const wait: Promise<unknown>[] = [];
          const run = (o: { drive: string; at: number; n: number; swap: boolean }) => {
            const [a, b] = o.swap ? [A, B] : [B, A];
            const make = () => Io.of(o.n === 2 ? sc : a.scheduler, two, a, b, o.at);
            const s = () => IoSequence.of(o.n === 2 ? sc : a.scheduler, seq, a, b, o.at, o.n);
            const exp = Array.from({ length: o.n }, (_, i) => expected(o.at + i));
            switch (o.drive) {
              case "sync":
                expect(make().sync()).toBe(expected(o.at));
                break;
              case "promise":
                wait.push(
                  make()
                    .promise()
                    .then((v) => expect(v).toBe(expected(o.at))),
                );
                break;
              case "seqSync":
                expect([...s().sync()]).toEqual(exp);
                break;
              case "seqAsync":
                wait.push(
                  s()
                    .toArray()
                    .promise()
                    .then((v) => expect(v).toEqual(exp)),
                );
                break;
              case "all":
                wait.push(
                  settle([make(), make(), readInto(b, o.at, 1)])
                    .promise()
                    .then((r) => expect(r.every((x) => x.ok)).toBe(true)),
                );
                break;
              case "nested": {
                const p = Packet.reading(2);
                wait.push(
                  send(a, o.at, p, {
                    onFragment: () => {
                      expect(make().sync()).toBe(expected(o.at));
                    },
                  }).promise(),
                );
                break;
              }
              case "nestedAnswer": {
                const p = Packet.reading(2);
                send(a, o.at, p, {
                  onFragment: () => {
                    expect([...s().sync()]).toEqual(exp);
                    C.sendIo(1, Packet.reading(1).view().bind());
                  },
                }).sync();
                break;
              }
              case "abort": {
                const p = Packet.reading(2);
                a.sendIo(
                  o.at,
                  p.view().bind({
                    onFragment: () => {
                      C.sendIo(1, Packet.reading(1).view().bind());
                    },
                  }),
                );
                p.abort();
                break;
              }
            }
          };
          for (const o of ops) {
            if (o.drive === "turn") await turns(o.n * 2);
            else run(o);
          }
          await Promise.all(wait);
          await turns(100);
          expect([sa.pending, sb.pending, sc.pending, sa.waiting, sb.waiting]).toEqual([0, 0, 0, 0, 0]);
        },
      ),
      { numRuns: Number(process.env.RUNS ?? 1500) },
    );
    void wb;
  }, 120000);
});
