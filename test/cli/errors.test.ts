import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { describeSystemError, isUsage, UsageError } from "../../cli/errors.js";
import { ConnectorError } from "../../connectors/errors.js";

describe("errors", () => {
  it("of the system are told in words, without Node's call and path", () => {
    let caught: unknown;
    try {
      readFileSync("/nowhere/\x1b[31m, at all");
    } catch (error) {
      caught = error;
    }
    expect(describeSystemError(caught)).toBe("no such file or directory (ENOENT)");
    expect(describeSystemError(Object.assign(new Error("write EPIPE"), { code: "EPIPE" }))).toBe("EPIPE");
    expect(describeSystemError(new Error("something else"))).toBe("something else");
  });

  it("of a target that can't be one are the command line's, those of the target itself are not", () => {
    expect(isUsage(new UsageError("x"))).toBe(true);
    expect(isUsage(new ConnectorError("BAD_OPTION", "proc:1", "x"))).toBe(true);
    expect(isUsage(new ConnectorError("NO_SUCH_FILE", "file:x", "x"))).toBe(false);
    expect(isUsage(new Error("x"))).toBe(false);
  });
});
