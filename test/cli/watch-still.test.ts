/** `watch` on what stands still: it ends, and says why. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { registerConnector } from "../../connectors/registry.js";
import { AddressRanges, type Source } from "../../src/io/index.js";
import { startStub } from "../connectors/gdb/stub.js";
import { testFolder } from "../support/cli-dump.js";
import { runHere } from "./run-here.js";

const { folder } = testFolder();

it("a machine that its stub has paused", async () => {
  const stub = await startStub({ base: 0n, bytes: new Uint8Array(16).fill(1) });
  try {
    const { status, text } = await runHere([
      "watch",
      "0",
      "--type",
      "u8",
      "-c",
      `gdb:127.0.0.1:${stub.port}`,
    ]);
    expect([status, text]).toEqual([
      0,
      expect.stringContaining("is paused while it is read: there is nothing to wait for"),
    ]);
  } finally {
    stub.close();
  }
});

it("a recording ends with its last sample", async () => {
  let ticks = 0;
  registerConnector("ticking", {
    kind: "virtual",
    about: "counts its reads",
    open: (): Source => ({
      name: "ticking:",
      supports: { write: false, live: true },
      ranges: () => AddressRanges.single(0, 4096),
      transferSync(batch) {
        for (let row = 0; row < batch.length; row++) {
          batch.bytes(row).fill(++ticks);
          batch.done(row);
        }
      },
    }),
  });
  const path = join(folder, "watch.rec");
  const watch = ["watch", "0", "--type", "u8", "--every", "0"];
  await runHere([...watch, "--count", "3", "-c", `ticking::record=${path}`]);
  const { status, text } = await runHere([...watch, "--count", "10", "-c", `ticking::replay=${path}`]);
  expect([status, text.match(/^20.*$/gm)?.length, text]).toEqual([
    0,
    3,
    expect.stringContaining("is a recording, and this is its end: there is nothing to wait for"),
  ]);
});
