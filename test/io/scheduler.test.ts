/** The scheduler after something went wrong, and with two of them. */
import { describe, expect, it } from "vitest";
import {
  all,
  Io,
  Packet,
  type Routine,
  readInto,
  Scheduler,
  type Waker,
  WouldBlockError,
} from "../../src/index.js";
import { open, turns } from "./support.js";

describe("a scheduler", () => {
  it("goes on after a callback or a drain that throws", async () => {
    const thrown: unknown[] = [];
    const afterTurn = (run: () => void) => {
      const guarded = () => {
        try {
          run();
        } catch (error) {
          thrown.push(error);
        }
      };
      void turns(3).then(guarded);
    };
    const scheduler = new Scheduler({ afterTurn });
    const io = open({}, scheduler);
    const other = readInto(io, 8, 1).promise();
    scheduler.enqueue({
      name: "throws",
      flush() {
        throw new Error("flush");
      },
    });
    const last = open({}, scheduler);
    const after = readInto(last, 9, 1).promise();
    function* reads(): Routine<number> {
      return (yield* readInto(io, 1, 1))[0] as number;
    }
    const calls: string[] = [];
    scheduler.start(
      reads(),
      () => {
        calls.push("done");
        throw new Error("callback");
      },
      () => calls.push("failed"),
    );
    expect([...(await other), ...(await after)]).toEqual([8, 9]);
    expect([...(await readInto(io, 3, 1))]).toEqual([3]);
    expect(calls).toEqual(["done"]);
    expect(thrown.map(String).sort()).toEqual(["Error: callback", "Error: flush"]);
  });

  it("throws a wait's error into the routine, so that its finally runs", async () => {
    let cleaned = 0;
    function* waitsForNothing(): Routine<string> {
      try {
        yield Packet.reading(1);
        return "?";
      } catch (error) {
        return String(error);
      } finally {
        cleaned++;
      }
    }
    const scheduler = new Scheduler();
    expect(await Io.of(scheduler, waitsForNothing)).toMatch(/never submitted/);
    expect(Io.of(scheduler, waitsForNothing).sync()).toMatch(/never submitted/);
    expect(cleaned).toBe(2);
  });

  it("does not take the end of a wait that was given up for the end of the next one", async () => {
    class Flag {
      over = false;
      waker: Waker | undefined;
      park(waker: Waker): boolean {
        if (!this.over) this.waker = waker;
        return !this.over;
      }
      raise(): void {
        this.over = true;
        this.waker?.wake();
      }
    }
    const first = new Flag();
    const second = new Flag();
    let passed = false;
    function* survivor(): Routine<void> {
      try {
        yield first;
      } catch {
        yield second;
        passed = true;
      }
    }
    const scheduler = new Scheduler();
    expect(() => all([Io.of(scheduler, survivor)]).sync()).toThrow(WouldBlockError);
    first.raise();
    await turns(10);
    expect(passed).toBe(false);
    second.raise();
    await turns(10);
    expect(passed).toBe(true);
  });

  it("all() with an operation that was driven already settles the others first", async () => {
    const io = open();
    const used = readInto(io, 1, 1);
    used.sync();
    const bytes = new Uint8Array(1);
    await expect(all([readInto(io, 3, bytes), used, readInto(io, 4, 1)]).promise()).rejects.toThrow(
      /driven once/,
    );
    expect(bytes[0]).toBe(3);
    expect(io.counters.fragments).toBe(3);
  });

  it("a synchronous operation waits for room, too, whatever else can go on meanwhile", async () => {
    const scheduler = new Scheduler({ highWaterMark: 4 });
    let most = 0;
    const io = open(
      {
        onBatch: () => {
          most = Math.max(most, scheduler.pending);
        },
      },
      scheduler,
    );
    const packet = Packet.reading(1);
    const view = packet.view().bind();
    view.keep();
    function* waits(): Routine<void> {
      yield packet;
    }
    const woken = Io.of(scheduler, waits).promise();
    for (let i = 0; i < 4; i++) io.sendIo(i, Packet.reading(1).view().bind());
    view.complete();
    readInto(io, 9, 1).sync();
    expect(most).toBe(4);
    await woken;
  });

  it("calls back once, with the error, for a routine that was given up while it waited for its turn", async () => {
    const scheduler = new Scheduler({ highWaterMark: 1 });
    const io = open({ mode: "async" }, scheduler);
    const calls: string[] = [];
    const start = () =>
      scheduler.start(
        readInto(io, 1, 1)[Symbol.iterator](),
        () => calls.push("done"),
        (error) => calls.push(String(error)),
      );
    io.sendIo(0, Packet.reading(1).view().bind());
    const waiting = start();
    waiting.giveUp(new Error("enough"));
    waiting.giveUp(new Error("twice"));
    await turns(40);
    expect(calls).toEqual(["Error: enough"]);
    const running = start();
    await turns(40);
    running.giveUp(new Error("too late"));
    expect(calls).toEqual(["Error: enough", "done"]);
  });

  it("waits with a flush for a task that is three microtasks behind, and for no more than it was told to", async () => {
    const batches = async (scheduler: Scheduler, behind: number) => {
      const io = open({}, scheduler);
      const first = readInto(io, 0, 1).promise();
      let turn = Promise.resolve();
      for (let i = 1; i < behind; i++) turn = turn.then(() => {});
      await turn.then(() => readInto(io, 8, 1).promise());
      await first;
      return io.counters.batches;
    };
    expect(await batches(new Scheduler(), 3)).toBe(1);
    expect(await batches(new Scheduler(), 4)).toBe(2);
    expect(await batches(new Scheduler({ quietTurns: 1 }), 3)).toBe(2);
    expect(await batches(new Scheduler({ quietTurns: 9 }), 8)).toBe(1);
    const afterTurn = (run: () => void) => void setImmediate(run);
    expect(await batches(new Scheduler({ afterTurn }), 50)).toBe(1);
  });
});
