/** The page walk as a PacketIo: pages that lie side by side in virtual memory, scattered over frames. */
import { Scheduler, VirtualMemory } from "../../src/index.js";
import { packetIoSuite } from "../suite/index.js";
import { DummyMachine } from "../support/dummy-machine.js";

const PAGE = 4096;
// The last page of one 2 MiB region and the first ones of the next: two leaf tables.
const BASE = 0xffff_8880_001f_f000n;

for (const turns of [undefined, 2]) {
  for (const live of [false, true]) {
    const how = `${live ? "live" : "unchanging"} memory that answers ${turns === undefined ? "at once" : "later"}`;
    packetIoSuite(`a page walk over ${how}`, () => {
      const machine = new DummyMachine({ seed: 5, base: 0x1_0000_0000 });
      const pages = [0, 1, 2].map((i) => machine.map(BASE + BigInt(i * PAGE)));
      const scheduler = new Scheduler();
      const source = machine.sourceIo(turns === undefined ? { scheduler } : { scheduler, turns });
      const truth = () => {
        const bytes = new Uint8Array(pages.length * PAGE);
        pages.forEach(({ physical }, i) => {
          const at = physical - machine.base;
          bytes.set(machine.bytes.subarray(at, at + PAGE), i * PAGE);
        });
        return bytes;
      };
      return {
        io: new VirtualMemory(source, { root: machine.root, live, scheduler }),
        base: BASE,
        truth,
        writable: true,
        asyncOnly: turns !== undefined,
        missing: { bytes: 100, state: "not-present" },
      };
    });
  }
}
