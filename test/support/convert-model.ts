/** What a converted dump must read as, by the documentation: from plain arrays, without the writers. */
import type { ConvertFormat } from "../../connectors/connectors.js";
import { ImageModel } from "./dump.js";

/** States of a source's bytes: as `ImageModel`'s, with `unsure` for what may be excluded or outside. */
export interface SourceModel {
  readonly bytes: Uint8Array;
  /** "present", "excluded", "unsure", "failed", or "outside". */
  readonly states: readonly string[];
}

/** Options of a conversion that change what is in the dump. */
export interface ConvertModelOptions {
  readonly excludeZero?: boolean;
  /** Ranges to keep; `end` exclusive. */
  readonly keep?: readonly { readonly start: number; readonly end: number }[];
  readonly pageSize?: number;
}

/** The model of the new dump. */
export function convertedModel(
  source: SourceModel,
  format: ConvertFormat,
  options: ConvertModelOptions = {},
): ImageModel {
  const { keep, excludeZero = false, pageSize = 4096 } = options;
  const page = format === "kdump" ? pageSize : 1;
  const states = source.states.map((state, at) => {
    const isKept =
      keep === undefined ||
      keep.some(
        ({ start, end }) =>
          end > start && at >= Math.floor(start / page) * page && at < Math.ceil(end / page) * page,
      );
    return isKept || (state !== "present" && state !== "failed") ? state : "excluded";
  });
  const size = states.length;
  switch (format) {
    case "raw": {
      const end = states.lastIndexOf("present") + 1;
      const model = new ImageModel(end);
      model.mark(0, end, "present");
      for (let at = 0; at < end; at++)
        if (states[at] === "present") model.bytes[at] = source.bytes[at] as number;
      return model;
    }
    case "elf":
    case "lime": {
      const model = new ImageModel(size);
      for (let at = 0; at < size; at++) {
        const state = states[at] as string;
        if (state === "present") model.present(at, source.bytes.subarray(at, at + 1));
        else if (format === "elf" && (state === "excluded" || state === "failed"))
          model.mark(at, at + 1, "excluded");
      }
      return model;
    }
    case "kdump": {
      const pages = Math.ceil(size / page);
      const model = new ImageModel(pages * page);
      const missing = new Set(states.filter((state) => !["present", "outside", "failed"].includes(state)));
      // If nobody knows of anything that is missing whether it is RAM, nor does the new dump.
      const unsureOnly = missing.has("unsure") && missing.size === 1 && !excludeZero;
      // The bitmaps end with the last page of which anything is known; what is above is outside, whoever is unsure.
      const end = states.findLastIndex((state) => state !== "outside") + 1;
      for (let i = 0; i < pages; i++) {
        const from = i * page;
        const inPage = states.slice(from, from + page);
        const has = (state: string) => inPage.includes(state);
        const bytes = new Uint8Array(page);
        inPage.forEach((state, at) => {
          if (state === "present") bytes[at] = source.bytes[from + at] as number;
        });
        if (has("present") && !has("failed")) {
          if (excludeZero && bytes.every((byte) => byte === 0)) model.mark(from, from + page, "excluded");
          else model.present(from, bytes);
        } else if (has("present") || has("failed") || has("excluded") || (unsureOnly && from < end)) {
          model.mark(from, from + page, "excluded");
        }
      }
      return model;
    }
  }
}
