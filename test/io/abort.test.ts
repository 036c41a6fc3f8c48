/** Aborts in every state of an operation. */
import { describe, expect, it } from "vitest";
import {
  type BoundView,
  fragments,
  layer,
  MemoryIo,
  Packet,
  pipe,
  readInto,
  readPartial,
  readStream,
  Scheduler,
  send,
  toCallback,
  WouldBlockError,
  withFallback,
  writeStream,
} from "../../src/index.js";
import { counted, gate, open, turns } from "./support.js";

describe("abort", () => {
  const states = async (pending: Promise<{ holes: readonly { state: string }[] }>) =>
    (await pending).holes.map(({ state }) => state);

  it("while an operation waits for admission, queued, in flight, and after it is complete", async () => {
    const late = gate();
    const io = open({ mode: "async", gate: late.wait }, new Scheduler({ highWaterMark: 2 }));
    const controllers = Array.from({ length: 4 }, () => new AbortController());
    const start = (i: number) =>
      readPartial(io, i, 2, { signal: (controllers[i] as AbortController).signal }).promise();
    const inFlight = start(0);
    await turns(20);
    const queued = start(1);
    const waiting = start(2);
    await turns(1);
    for (const controller of controllers) controller.abort();
    expect(await states(queued)).toEqual(["aborted"]);
    expect(await states(waiting)).toEqual(["aborted"]);
    late.open();
    const { bytes, holes } = await inFlight;
    expect([...bytes, ...holes]).toEqual([0, 1]);
    expect(io.counters.fragments).toBe(2);
    (controllers[0] as AbortController).abort();
    expect(await states(start(3))).toEqual(["aborted"]);
    expect(io.scheduler.pending).toBe(0);
  });

  it("ends a read that a pipe holds, at once and without another byte; those behind it come next", async () => {
    const { readable, writable } = pipe();
    const controllers = [new AbortController(), new AbortController()];
    const [first, second] = controllers.map((controller) =>
      readStream(readable, new Uint8Array(4), { signal: controller.signal }).promise(),
    );
    const third = readStream(readable, new Uint8Array(2)).promise();
    await turns(5);
    controllers[1]?.abort();
    await expect(second).rejects.toThrow(/aborted/);
    controllers[0]?.abort();
    await expect(first).rejects.toThrow(/aborted/);
    await writeStream(writable, counted(2));
    expect(await third).toBe(2);
  });

  it("ends a write that waits for room in a pipe, and keeps what it had written", async () => {
    const { readable, writable } = pipe(4);
    const controller = new AbortController();
    const written = writeStream(writable, counted(10), { signal: controller.signal }).promise();
    await turns(5);
    controller.abort();
    await expect(written).rejects.toMatchObject({
      good: [{ start: 0, end: 4 }],
      holes: [{ start: 4, end: 10, state: "aborted" }],
    });
    expect([...readInto(readable, undefined, 4).sync()]).toEqual([0, 1, 2, 3]);
  });

  it("reaches what was sent on through a rebound view, and asks nobody else for it", async () => {
    const io = open({ mode: "async" });
    const second = open({ mode: "async" }, io.scheduler);
    const controller = new AbortController();
    const pending = readPartial(withFallback(io, second), 0, 8, { signal: controller.signal }).promise();
    controller.abort();
    expect(await states(pending)).toEqual(["aborted"]);
    expect([io.counters.batches, second.counters.fragments]).toEqual([0, 0]);
  });

  it("between two parts ends the second, wherever it was still to be sent", async () => {
    const { readable, writable } = pipe();
    await writeStream(writable, counted(4));
    const held = readStream(pipe().readable, 1);
    const source = open({ mode: "async" });
    const rebound = withFallback(source, new MemoryIo(counted()));
    const readers = [
      (view: BoundView) => readable.sendIo(undefined, view),
      (view: BoundView) => rebound.sendIo(4, view),
      (view: BoundView) => source.sendIo(4, view),
    ];
    for (const second of readers) {
      const controller = new AbortController();
      const io = layer(source.scheduler, (_: number, view: BoundView) => {
        const rest = view.split(4);
        view.transfer(counted(4));
        second(rest);
      });
      const packet = Packet.reading(8);
      const output = toCallback(() => controller.abort());
      await send(io, 0, packet, output, { signal: controller.signal });
      expect(packet.good()).toEqual([{ start: 0, end: 4 }]);
      expect(packet.holes()).toMatchObject([{ start: 4, end: 8, state: "aborted" }]);
    }
    expect(source.counters.batches).toBe(0);
    expect(() => held.sync()).toThrow(WouldBlockError);
  });

  it("before the first fragment is asked for sends nothing", async () => {
    const io = open();
    const signal = AbortSignal.abort();
    const parts = await fragments(io, 0, Packet.reading(4), { signal }).toArray();
    expect(parts.map(({ start, end }) => [start, end])).toEqual([[0, 4]]);
    expect(io.counters.fragments).toBe(0);
  });

  it("leaves no listener behind", async () => {
    let listeners = 0;
    const signal = {
      aborted: false,
      addEventListener: () => void listeners++,
      removeEventListener: () => void listeners--,
    };
    const io = open({ mode: "async" });
    await readPartial(io, 0, 4, { signal });
    expect(() => readPartial(io, 0, 4, { signal }).sync()).toThrow(WouldBlockError);
    await fragments(io, 0, Packet.reading(4), { signal }).toArray();
    for await (const _ of fragments(io, 0, Packet.reading(4), { signal })) break;
    expect(listeners).toBe(0);
  });
});
