/** What a source keeps of its callers' memory once it has answered: nothing. */
import { describe, expect, it } from "vitest";
import { AddressSpace, Packet, readInto, Scheduler, SourceIo } from "../../src/index.js";
import { memorySource } from "../suite/index.js";
import { counted, gate, open, turns } from "./support.js";

const collect = async () => {
  for (let i = 0; i < 4; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    (globalThis as { gc?: () => void }).gc?.();
  }
};

describe("a source lets go of its callers' memory", () => {
  const run = async (work: (memory: Uint8Array) => Promise<void> | void) => {
    const ref = await (async () => {
      const memory = new Uint8Array(4096);
      await work(memory);
      return new WeakRef(memory.buffer);
    })();
    await collect();
    return ref.deref() === undefined;
  };
  const io = open();
  it("after a batch that was sorted, one that was not, a column, an abort, and a second asking", async () => {
    const space = new AddressSpace<number>(io, { addressBits: 53 });
    expect(await run((m) => void readInto(io, 5, m.subarray(0, 100)).sync())).toBe(true);
    expect(
      await run((m) => {
        for (const at of [300, 200, 100])
          io.sendIo(
            at,
            Packet.reading(m.subarray(at, at + 10))
              .view()
              .bind(),
          );
        io.flush(true);
      }),
    ).toBe(true);
    expect(await run((m) => void space.gather([9, 4, 700], 8, m).sync())).toBe(true);
    expect(
      await run(async (m) => {
        const packet = Packet.reading(m.subarray(0, 9));
        io.sendIo(1, packet.view().bind());
        packet.abort();
        await turns(20);
      }),
    ).toBe(true);
  });
  it("after a reissue, once the first transfer has landed", async () => {
    const late = gate();
    const both = new SourceIo(memorySource(counted(), { mode: "both", gate: late.wait }), new Scheduler());
    expect(
      await run(async (m) => {
        const packet = Packet.reading(m.subarray(0, 100));
        both.sendIo(9, packet.view().bind());
        await turns(20);
        function* wait() {
          yield packet;
        }
        both.scheduler.runSync(wait());
        expect(packet.complete).toBe(true);
        late.open();
        await turns(20);
      }),
    ).toBe(true);
  });
});
