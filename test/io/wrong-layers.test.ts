/** Layers and connectors that break the rules: they throw, drop, answer twice or late. */
import { describe, expect, it, vi } from "vitest";
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
  sendKept,
  sendOwn,
  sendRebound,
  settle,
  UNANSWERED,
  withFallback,
  withPageCache,
  write,
} from "../../src/index.js";
import { delaying, memorySource } from "../suite/index.js";
import { counted, gate, open, turns } from "./support.js";

/** Until a packet is complete. */
async function fetched(packet: Packet): Promise<void> {
  for (let i = 0; i < 100 && !packet.complete; i++) await turns(1);
  expect(packet.complete).toBe(true);
}

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

  it("throwing half-way through a part of a rebound view fails what it lost of that", async () => {
    const io = layer(undefined, (address: number, view: BoundView) => {
      sendRebound(new MemoryIo(counted()), address, view, (part) => {
        part.split(1);
        part.complete();
        throw new Error("in onPart");
      });
    });
    await expect(readInto(io, 0, 4).promise()).rejects.toThrow("in onPart");
  });

  it("throwing when a source has a part of a rebound view in hand does not take it from that", async () => {
    const slow = delaying(new MemoryIo(counted()), 8);
    const throws = layer(undefined, (address: number, view: BoundView) => {
      slow.sendIo(address, view);
      throw new Error("broken");
    });
    const none = layer(undefined, (_: number, view: BoundView) => view.fail(UNANSWERED));
    const bytes = new Uint8Array(8);
    await expect(readInto(withFallback(none, throws), 16, bytes).promise()).rejects.toThrow("broken");
    expect([...bytes]).toEqual([16, 17, 18, 19, 20, 21, 22, 23]);
    expect([...(await readInto(withFallback(throws, none), 16, 8))]).toEqual([...bytes]);
  });

  it("throwing when a source has a page in hand does not take that from who waits for it", async () => {
    const slow = delaying(new MemoryIo(new Uint8Array(4096).fill(3)), 4096);
    const throws = layer(undefined, (address: number, view: BoundView) => {
      slow.sendIo(address, view);
      throw new Error("broken");
    });
    expect([...(await readInto(withPageCache(throws), 16, 8))]).toEqual(new Array(8).fill(3));
  });

  it("throwing when all is answered is no concern of the next submission of the same packet", () => {
    const memory = new MemoryIo(counted());
    const throws = layer(undefined, (address: number, view: BoundView) => {
      memory.sendIo(address, view);
      throw new Error("late");
    });
    const ways: Record<string, (view: BoundView) => void> = {
      sendOwn: (view) => sendOwn(throws, 0, view),
      "the first of a fallback": (view) => withFallback(throws, memory).sendIo(0, view),
      onPart: (view) =>
        sendRebound(memory, 0, view, (part) => {
          part.complete();
          throw new Error("in onPart");
        }),
    };
    for (const [name, send] of Object.entries(ways)) {
      const packet = Packet.reading(8);
      let next: BoundView | undefined;
      const onFragment = () => {
        if (packet.complete && packet.flight === 1) next = packet.bind();
      };
      send(packet.bind({ onFragment }));
      const { flight, cause, outputError, abortFault } = packet;
      expect([flight, cause, outputError, abortFault], name).toEqual([2, undefined, undefined, 0]);
      next?.complete();
      expect(packet.complete).toBe(true);
    }
  });

  it("below a fallback is the cause of what the fallback could not give either", async () => {
    const throws = layer(undefined, (_: number, view: BoundView) => {
      view.packet.cause ??= new Error("below");
      view.fail(fault("io", "device", "connector"));
    });
    const none = layer(undefined, (_: number, view: BoundView) => view.fail(UNANSWERED));
    await expect(readInto(withFallback(throws, none), 0, 8).promise()).rejects.toMatchObject({
      cause: { message: "below" },
    });
  });

  it.each([false, true])(
    "throwing below a page cache hangs nobody, then or later (live: %s)",
    async (live) => {
      const memory = new MemoryIo(new Uint8Array(0x2000).fill(3));
      let wrong = true;
      const io = layer(memory.scheduler, (address: number, view: BoundView) => {
        if (wrong) throw new Error("broken");
        memory.sendIo(address, view);
      });
      const cache = withPageCache(io, { live });
      const { holes } = await readPartial(cache, 0x100, 8);
      expect(holes).toMatchObject([{ start: 0, end: 8, state: "unanswered" }]);
      await expect(readInto(cache, 0x1100, 8).promise()).rejects.toMatchObject({
        cause: { message: "broken" },
      });
      expect([...(await readInto(withFallback(cache, memory), 0x100, 8))]).toEqual(new Array(8).fill(3));
      expect([...(await readInto(withFallback(memory, cache), 0x100, 8))]).toEqual(new Array(8).fill(3));
      wrong = false;
      expect([...(await readInto(cache, 0x200, 8))]).toEqual(new Array(8).fill(3));
    },
  );

  describe("below one that answers later", () => {
    /** Keeps each view, and sends it on a few turns later. */
    const later = (below: (address: number, view: BoundView) => void) =>
      layer(undefined, (address: number, view: BoundView) => {
        view.keep();
        void turns(2).then(() => sendKept(view, () => below(address, view)));
      });
    const memory = new MemoryIo(counted());
    const slow = delaying(memory, 8);

    it("loses nothing that it split off and forgot: that fails as unanswered, and outputs are told", async () => {
      const io = later((address, view) => {
        const tail = view.split(4);
        tail.split(2);
        memory.sendIo(address, view);
        slow.sendIo(address + 4, tail);
      });
      const told: number[][] = [];
      const packet = Packet.reading(8);
      const onFragment = ({ start, end, fault: why }: { start: number; end: number; fault: number }) =>
        told.push([start, end, why]);
      io.sendIo(16, packet.view().bind({ onFragment }));
      await fetched(packet);
      expect(told.sort(([a = 0], [b = 0]) => a - b)).toEqual([
        [0, 4, 0],
        [4, 6, 0],
        [6, 8, UNANSWERED],
      ]);
      expect([...packet.bytes]).toEqual([16, 17, 18, 19, 20, 21, 0, 0]);
    });

    it.each([
      ["at once", [], 0],
      ["having answered a part", [{ start: 0, end: 4 }], 4],
    ])("throws %s: what it did not answer fails, and the error is the cause", async (_, good, answers) => {
      const io = later((address, view) => {
        if (answers > 0) {
          view.split(answers);
          memory.sendIo(address, view);
        }
        throw new Error("broken");
      });
      const { holes, ...rest } = await readPartial(io, 16, 8);
      expect(rest.good).toEqual(good);
      expect(holes).toMatchObject([{ start: answers, end: 8, state: "unanswered" }]);
      await expect(readInto(io, 16, 8).promise()).rejects.toMatchObject({ cause: { message: "broken" } });
    });

    it("waits for what a source still has in hand when it throws", async () => {
      const io = later((address, view) => {
        view.split(4);
        slow.sendIo(address, view);
        throw new Error("broken");
      });
      const { bytes, holes } = await readPartial(io, 16, 8);
      expect([...bytes]).toEqual([16, 17, 18, 19, 0, 0, 0, 0]);
      expect(holes).toMatchObject([{ start: 4, end: 8, state: "unanswered" }]);
    });

    it("may keep its view for a third to answer, and lend what it was lent", async () => {
      const io = later((address, view) => {
        const tail = view.split(3);
        later((at, part) => memory.sendIo(at, part)).sendIo(address, view);
        sendKept(tail, () => {
          tail.split(2);
          memory.sendIo(address + 3, tail);
        });
      });
      const { bytes, holes } = await readPartial(io, 16, 8);
      expect([...bytes]).toEqual([16, 17, 18, 19, 20, 0, 0, 0]);
      expect(holes).toMatchObject([{ start: 5, end: 8, state: "unanswered" }]);
    });

    it.each([
      ["answers", 8],
      ["loses", 4],
    ])("splits its view while it lends another one, and %s what it split off", async (does, good) => {
      const io = later((address, view) => {
        const other = Packet.reading(1).bind();
        other.keep();
        let tail: BoundView | undefined;
        sendKept(other, () => {
          tail = view.split(4);
          memory.sendIo(0, other);
        });
        memory.sendIo(address, view);
        if (does === "answers") memory.sendIo(address + 4, tail as BoundView);
      });
      expect((await readPartial(io, 16, 8)).good).toEqual([{ start: 0, end: good }]);
    });

    it("has what it lost split once more by whoever is told of a part: that fails, too", () => {
      const packet = Packet.reading(8);
      let tail: BoundView | undefined;
      const view = packet.bind({ onFragment: ({ start }) => void (start === 0 && tail?.split(2)) });
      view.keep();
      sendKept(view, () => {
        tail = view.split(4);
      });
      expect(packet.complete).toBe(true);
      expect(packet.holes()).toMatchObject([{ start: 0, end: 8, state: "unanswered" }]);
    });

    it("throws when all is answered: that is not the cause of anything in the next submission", async () => {
      const io = later((address, view) => {
        memory.sendIo(address, view);
        throw new Error("late");
      });
      const packet = Packet.reading(8);
      io.sendIo(0, packet.bind());
      // Submitted again at once; nobody answers that.
      packet.park({ wake: () => packet.bind().keep() });
      await turns(5);
      expect([packet.flight, packet.cause]).toEqual([2, undefined]);
    });

    it("is answered for all, though who waits for one of them throws", () => {
      const [one, other] = [Packet.reading(4), Packet.reading(8)];
      const [inner, outer] = [one.bind(), other.bind()];
      for (const view of [inner, outer]) view.keep();
      one.park({
        wake() {
          throw new Error("waiter");
        },
      });
      const rejected = vi
        .spyOn(Promise, "reject")
        .mockImplementation(() => Promise.resolve() as Promise<never>);
      sendKept(outer, () => {
        sendKept(inner, () => void outer.split(4));
        outer.complete();
      });
      const errors = rejected.mock.calls.flat();
      rejected.mockRestore();
      expect([one.complete, other.complete]).toEqual([true, true]);
      // The host hears of it.
      expect(errors).toMatchObject([{ message: "waiter" }]);
    });
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
