/** The pages that the guest's program filled, by what the guest printed of them. */
import type { Truth } from "../../fixtures/vm/truth.mjs";
import { patternPage, solidPage } from "../../fixtures/vm/truth.mjs";

/** A page of a region, and what the guest says is in it. */
export interface Page {
  readonly va: bigint;
  readonly physical: number | undefined;
  readonly content: "pattern" | "solid" | "zero" | null;
  readonly generation: number;
  readonly state: string;
}

/** Pages of the pattern regions, one by one. */
export function pagesOf(truth: Truth): Page[] {
  return truth.regions.flatMap((region) =>
    region.runs.flatMap((run) => {
      const start = BigInt(run.start);
      const count = Number(BigInt(run.end) - start) / 4096;
      return Array.from({ length: count }, (_, i) => ({
        va: start + BigInt(i * 4096),
        physical: run.physical === null ? undefined : Number(run.physical) + i * 4096,
        content: run.content,
        generation: run.generation,
        state: run.state,
      }));
    }),
  );
}

/** What a page with contents holds. */
export function bytesOf({ va, content, generation }: Page): Uint8Array {
  if (content === "pattern") return patternPage(va, generation);
  return content === "solid" ? solidPage(va) : new Uint8Array(4096);
}

/** Whether the writer of the dump left a physical page out. */
export function leftOut(truth: Truth, physical: number): boolean {
  return (truth.fixture?.leftOut ?? []).some(
    ({ start, end }) => physical >= Number(start) && physical < Number(end),
  );
}
