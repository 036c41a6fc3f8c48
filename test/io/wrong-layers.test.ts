/** Layers and connectors that break the rules: they throw, drop, answer twice or late. */
import { describe, expect, it } from "vitest";
import {
  AddressRanges,
  type Batch,
  type BoundView,
  fault,
  fetchPacket,
  fragments,
  layer,
  MemoryIo,
  Packet,
  PartialReadError,
  readInto,
  readPartial,
  Scheduler,
  type Source,
  SourceIo,
  send,
  sendRebound,
  settle,
  UNANSWERED,
  withFallback,
  write,
} from "../../src/index.js";
import { delaying, memorySource } from "../suite/index.js";
import { counted, gate, open, turns } from "./support.js";

describe("a layer that is wrong", () => {
  it("answering a view that it dropped throws, and the rest of the packet is still waited for", async () => {
    const memory = delaying(new MemoryIo(counted()), 8);
    let dropped: BoundView | undefined;
    const io = layer(undefined, (address: number, view: BoundView) => {
      dropped = view.split(4);
      memory.sendIo(address, view);
    });
    const packet = Packet.reading(8);
    const pending = send(io, 16, packet).promise();
    await turns(2);
    expect(() => dropped?.transfer(Uint8Array.of(1, 1, 1, 1))).toThrow(/keep/);
    expect(() => dropped?.keep()).toThrow(/keep/);
    expect(packet.complete).toBe(false);
    await pending;
    expect(packet.good()).toEqual([{ start: 0, end: 4 }]);
    expect(packet.holes()).toMatchObject([{ start: 4, end: 8, state: "unanswered" }]);
    expect([...packet.bytes]).toEqual([16, 17, 18, 19, 0, 0, 0, 0]);
  });

  it("answering a view that a source has queued fails its own operation only", async () => {
    const io = open({ mode: "async" });
    const wrong = layer(io.scheduler, (address: number, view: BoundView) => {
      io.sendIo(address, view);
      view.fail(fault("io", "view", "application"));
    });
    const outcomes = await settle([
      readInto(io, 1, 1),
      readInto(wrong, 2, 1),
      readInto(io, 3, 1),
      readInto(io, 4, 1),
    ]);
    expect(outcomes.map(({ ok }) => ok)).toEqual([true, false, true, true]);
    expect(io.scheduler.pending).toBe(0);
    await io.close();
  });

  it("failing in the middle of a fetch of its own still gets its call back", () => {
    const packet = Packet.reading(8);
    const seen: Packet[] = [];
    const throws = layer(undefined, (_: number, view: BoundView) => {
      view.split(4);
      view.transfer(Uint8Array.of(1, 2, 3, 4));
      throw new Error("broken");
    });
    fetchPacket(throws, 0, packet, (complete) => seen.push(complete));
    expect(seen).toEqual([packet]);
    expect(packet.good()).toEqual([{ start: 0, end: 4 }]);
    expect(packet.cause).toMatchObject({ message: "broken" });
  });

  it("throwing below a rebound view, or deciding about its parts, fails the operation and hangs nothing", async () => {
    const throws = layer(undefined, () => {
      throw new Error("below");
    });
    const over = withFallback(throws, new MemoryIo(counted()));
    expect([...(await readInto(over, 7, 2))]).toEqual([7, 8]);
    const io = layer(undefined, (address: number, view: BoundView) => {
      sendRebound(new MemoryIo(counted()), address, view, () => {
        throw new Error("in onPart");
      });
    });
    await expect(readInto(io, 0, 4).promise()).rejects.toThrow("in onPart");
  });

  it("dropping next to a part that failed as unanswered leaves no part of a rebound view undecided", async () => {
    const drops = layer(undefined, (_: number, view: BoundView) => {
      view.split(6).split(2);
      view.fail(UNANSWERED);
    });
    const io = withFallback(drops, new MemoryIo(counted()));
    expect([...readInto(io, 3, 10).sync()]).toEqual([...counted().subarray(3, 13)]);
  });

  it("a row without a status is one fragment, not two", async () => {
    const io = new SourceIo(
      {
        name: "lazy",
        supports: { write: false, live: false },
        ranges: () => AddressRanges.single(0, 9),
        transferSync() {},
      },
      new Scheduler(),
    );
    const seen = await fragments(io, 0, Packet.reading(9)).toArray();
    expect(seen.map(({ start, end }) => [start, end])).toEqual([[0, 9]]);
  });

  it("a connector that returns no promise fails or finishes its rows, and nothing hangs", async () => {
    const source = memorySource(counted());
    const io = new SourceIo(
      {
        name: "no promise",
        supports: source.supports,
        ranges: () => source.ranges(),
        transfer: ((batch: Batch) => source.transferSync?.(batch)) as unknown as NonNullable<
          Source["transfer"]
        >,
      },
      new Scheduler(),
    );
    expect([...(await readInto(io, 5, 2))]).toEqual([5, 6]);
    await io.close();
  });

  it("a connector that throws before it makes a promise fails its rows", async () => {
    const source: Source = {
      name: "early",
      supports: { write: true, live: false },
      ranges: () => AddressRanges.single(0, 64),
      transfer() {
        throw new Error("at once");
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const cause = { message: "at once" };
    await expect(readInto(io, 0, 4).promise()).rejects.toMatchObject({ cause, holes: [{ state: "io" }] });
    await expect(write(io, 0, counted(4)).promise()).rejects.toMatchObject({ cause });
    await expect(write(io, 4, counted(4)).promise()).rejects.toMatchObject({ cause });
    await io.close();
  });

  it("a connector that goes on after it has failed reaches nobody else's memory", async () => {
    const late = gate();
    const bytes = counted();
    let calls = 0;
    const source: Source = {
      name: "runs on",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(0, 4096),
      async transfer(batch) {
        calls++;
        if (calls === 1) {
          const goOn = () => {
            batch.bytes(0).fill(0xbb);
            batch.done(0);
          };
          void late
            .wait()
            .then(goOn)
            .catch(() => {});
          throw new Error("first half failed");
        }
        await turns(10);
        for (let row = 0; row < batch.length; row++) {
          const at = batch.address(row);
          batch.bytes(row).set(bytes.subarray(at, at + (batch.lengths[row] as number)));
          batch.done(row);
        }
        late.open();
        await turns(10);
      },
    };
    const io = new SourceIo(source, new Scheduler());
    await expect(readInto(io, 0, 4).promise()).rejects.toBeInstanceOf(PartialReadError);
    expect([...(await readInto(io, 8, 4))]).toEqual([8, 9, 10, 11]);
    expect(calls).toBe(2);
  });

  it("a row that failed in part, or whole, is not made good by a later done() or failRange()", () => {
    const source: Source = {
      name: "undecided",
      supports: { write: false, live: false },
      ranges: () => AddressRanges.single(0, 100),
      transferSync(batch) {
        if (batch.address(0) === 0) {
          batch.failRange(0, 2, 4, 3);
          batch.done(0);
        } else if (batch.address(0) === 20) {
          batch.fail(0, 3);
          batch.failRange(0, 2, 4, 3);
        } else if (batch.address(0) === 40) {
          batch.fail(0, 0);
        } else {
          batch.failRange(0, 1.5, 3.5, 3);
        }
      },
    };
    const io = new SourceIo(source, new Scheduler());
    const holes = (at: number) =>
      readPartial(io, at, 8)
        .sync()
        .holes.map(({ start, end }) => [start, end]);
    expect(holes(0)).toEqual([[2, 4]]);
    expect(holes(20)).toEqual([[0, 8]]);
    expect(holes(40)).toEqual([[0, 8]]);
    expect(holes(60)).toEqual([[1, 4]]);
  });
});
