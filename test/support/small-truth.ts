/** Reads the trimmed truth beside a small committed dump; `fixtures/vm/small-fixture.mjs` writes it. */
import { readFileSync } from "node:fs";
import type { ProgramRun, TlbRun, Truth } from "../../fixtures/vm/truth.mjs";

const parts = (line: string): string[] => line.split(" ");

function mapping(line: string): TlbRun {
  const [start = "", end = "", physical = "", pageSize = "", flags = ""] = parts(line);
  return { start, end, physical, pageSize: Number(pageSize), flags };
}

function programRun(line: string): ProgramRun {
  const [start = "", end = "", physical = ""] = parts(line);
  return { start, end, physical };
}

/** @param path Of the JSON file. Lists that the file lacks are empty. */
export function readSmallTruth(path: string): Truth {
  const text = JSON.parse(readFileSync(path, "utf8"));
  const { user, kernel } = text.stops;
  return {
    texts: {},
    log: [],
    sockets: { tcp: [], udp: [], unix: [] },
    ...text,
    programPages: text.programPages.map(programRun),
    stops: {
      user: { ...user, mappings: user.mappings.map(mapping) },
      kernel: { ...kernel, mappings: kernel.mappings.map(mapping) },
    },
  };
}
