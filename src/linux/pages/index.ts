/** Page frames and the `struct page` of each. @module */

export { type PageFrame, type PageRow, readOrders, readPages } from "./page.js";
export { type FrameRange, findPageArray, type MemoryModel, PageArray } from "./page-array.js";
export { type PageNames, pageNames } from "./page-types.js";
