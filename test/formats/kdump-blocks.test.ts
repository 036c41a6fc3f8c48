import { expect, it } from "vitest";
import { pattern } from "../support/bytes.js";
import { expectImage, ImageModel, openBytes } from "../support/dump.js";
import { writeKdump } from "../support/write-kdump.js";

it("a kdump file in blocks of 64 KiB reads like any other", () => {
  const blockSize = 65_536;
  const model = new ImageModel(5 * blockSize);
  const pages = [0, 1, 4].map((pfn) => ({ pfn, bytes: pattern(blockSize, pfn) }));
  for (const { pfn, bytes } of pages) model.present(pfn * blockSize, bytes);
  model.mark(3 * blockSize, 4 * blockSize, "excluded");
  const image = openBytes(writeKdump(pages, { blockSize, maxPages: 5, leftOut: [3] }));
  expectImage(image, model);
  expect(image.details.blockSize).toBe(65_536);
});
