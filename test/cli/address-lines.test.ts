import fc from "fast-check";
import { expect, it } from "vitest";
import { AddressLines, FULL, MORE, OTHER } from "../../cli/address-lines.js";
import { readLines } from "../../cli/lines.js";
import { parseAddress } from "../../cli/parse.js";

/** What a line gave: a number, or a text that is no plain one (with the line's number), or that it is too long. */
type Taken = bigint | { line: number; text: string | undefined };

function isNumber(text: string): boolean {
  try {
    const { base, offset } = parseAddress(text);
    return typeof base === "bigint" && offset === 0n;
  } catch {
    return false;
  }
}

async function* each(chunks: readonly Uint8Array[]) {
  yield* chunks;
}

/** The slow, obvious way: strings, one by one. */
async function expected(chunks: readonly Uint8Array[]): Promise<Taken[]> {
  const taken: Taken[] = [];
  for await (const group of readLines(each(chunks))) {
    for (const { number, text: whole } of group) {
      const text = whole?.trim();
      if (text === "" || text?.startsWith("#") === true) continue;
      if (text !== undefined && isNumber(text)) taken.push(parseAddress(text).base as bigint);
      else taken.push({ line: number, text });
    }
  }
  return taken;
}

/** The same through columns; `texts` counts the lines that were handed out though they are numbers. */
function inColumns(chunks: readonly Uint8Array[]): { taken: Taken[]; texts: number; number: number } {
  const lines = new AddressLines();
  const taken: Taken[] = [];
  let texts = 0;
  const takeAll = () => {
    for (;;) {
      const stop = lines.next();
      if (stop !== OTHER) {
        taken.push(...lines.take());
        if (stop === MORE) return;
        expect(stop).toBe(FULL);
      } else if (lines.text !== undefined && isNumber(lines.text)) {
        texts++;
        lines.push(parseAddress(lines.text).base as bigint);
      } else {
        taken.push(...lines.take(), { line: lines.number, text: lines.text });
      }
    }
  };
  for (const chunk of chunks) {
    lines.feed(chunk);
    takeAll();
  }
  lines.end();
  takeAll();
  return { taken, texts, number: lines.number };
}

const space = fc.constantFrom("", "", "", " ", "\t", "\r", "\v\f", "  \r", "\u00a0", "\ufeff", "\u2028");
const digits = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => `0x${value.toString(16)}`),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => `0X${value.toString(16).toUpperCase()}`),
  fc.bigInt({ min: 0n, max: 2n ** 68n }).map(String),
  fc.bigInt({ min: 0n, max: 2n ** 68n }).map((value) => `0x${value.toString(16).padStart(18, "0")}`),
  fc.nat().map((value) => String(value).padStart(16, "0")),
);
const word = fc.oneof(
  { weight: 6, arbitrary: digits },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      ...[
        "",
        "#",
        "# 0x1",
        "0x",
        "0",
        "init_task",
        "init_task+0x10",
        "0x10+1",
        "1_000",
        "0x1_0",
        "12ab",
        "-1",
      ],
      ...["0x1 0x2", "é", "0x1\0", "0x1#", "+1", "0x-1", "1e3", "😀", "x".repeat(100)],
    ),
  },
  { weight: 1, arbitrary: fc.string() },
);
const line = fc.tuple(space, word, space).map((parts) => parts.join("").replaceAll("\n", " "));

/** Cuts bytes at places that are given as fractions. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const at = places.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b);
  return [0, ...at].map((start, i) => bytes.slice(start, at[i] ?? bytes.length));
}

it("any lines, cut anywhere, give what the parser of strings makes of them", async () => {
  const fraction = fc.double({ min: 0, max: 1, noNaN: true });
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 30 }),
      fc.constantFrom("\n", "\r\n"),
      fc.constantFrom("", "end"),
      fc.array(fraction, { maxLength: 6 }),
      fc.nat({ max: 4 }),
      async (all, newline, last, places, lost) => {
        const whole = new TextEncoder().encode(all.join(newline) + (last === "" ? "" : newline));
        // The input may end within a character.
        const chunks = cut(whole.subarray(0, Math.max(0, whole.length - lost)), places);
        const { taken } = inColumns(chunks);
        expect(taken).toEqual(await expected(chunks));
      },
    ),
    { numRuns: 1000 },
  );
});

it("hexadecimal digits beyond sixteen are never wrapped to an address", async () => {
  const texts = ["0x10000000000000000", "0x1ffffffffffffffff", "0X123456789ABCDEF01", "0x00000000000000001"];
  const chunks = [new TextEncoder().encode(`${texts.join("\n")}\n`)];
  expect(inColumns(chunks).taken).toEqual(await expected(chunks));
  expect(inColumns(chunks).taken.slice(0, 3)).toEqual(
    texts.slice(0, 3).map((text, i) => ({ line: i + 1, text })),
  );
});

it("bytes that are no text are as wrong as ever", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 })), async (chunks) => {
      expect(inColumns(chunks).taken).toEqual(await expected(chunks));
    }),
    { numRuns: 300 },
  );
});

it("plain numbers are not handed out as text, however many there are", () => {
  const numbers = Array.from({ length: 50_000 }, (_, i) => BigInt(i) * 0x1234_5678_9abcn);
  const text = numbers.map((n, i) => (i % 3 === 0 && n < 10n ** 15n ? String(n) : `0x${n.toString(16)}`));
  const { taken, texts, number } = inColumns([new TextEncoder().encode(`${text.join("\n")}\n`)]);
  expect(taken).toEqual(numbers);
  expect([texts, number]).toEqual([0, 50_000]);
});

it("lines of up to 64 Ki characters count, longer ones are bad, and neither is kept", async () => {
  const parts: string[] = [];
  for (const length of [65_535, 65_536, 65_537, 70_000, 200_000, 400_000]) {
    parts.push(
      "0".repeat(length),
      " ".repeat(length),
      `${" ".repeat(length - 3)}0x1`,
      "é".repeat(length),
      "0x2",
    );
    parts.push(`#${"-".repeat(length - 1)}`);
  }
  for (const input of [parts.join("\n"), `${parts.join("\n")}\n`, "é".repeat(65_536), "x".repeat(300_000)]) {
    const bytes = new TextEncoder().encode(input);
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += 65_536) chunks.push(bytes.subarray(at, at + 65_536));
    expect(inColumns(chunks).taken).toEqual(await expected(chunks));
  }
});
