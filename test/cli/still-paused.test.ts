/** A command that fails on a machine that stays paused: both are said. */
import { expect, it } from "vitest";
import { startStub } from "../connectors/gdb/stub.js";
import { runHere } from "./run-here.js";

it("says what went wrong, and that the machine is still paused", async () => {
  const answers = (request: string) => (request === "D" ? "E01" : undefined);
  const stub = await startStub({ base: 0n, bytes: new Uint8Array(16), answers });
  try {
    const { status, text } = await runHere(["read", "init_task", "-c", `gdb:127.0.0.1:${stub.port}`]);
    expect(text).toContain('"init_task" is not an address');
    expect(text).toContain("the machine is still paused: resume it");
    expect(status).not.toBe(0);
  } finally {
    stub.close();
  }
});
