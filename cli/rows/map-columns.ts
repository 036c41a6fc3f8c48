/** Columns of what is mapped, for rows for programs. */
import type { MapArea, MapRun } from "../../src/paging/index.js";
import type { Mapping } from "../render/mapping.js";
import type { RowColumn } from "./write-rows.js";

type Range = { readonly start: bigint; readonly end: bigint };

/** The end of the address space is no address of 64 bits: there the size tells. */
const endOf = ({ end }: Range) => (end === 1n << 64n ? null : end);

const RANGE: readonly RowColumn<Range>[] = [
  { field: "start", type: "address", value: ({ start }) => start },
  { field: "end", type: "address", value: endOf },
  // (Of an area that is all of it, 2^64 bytes: none is.)
  { field: "size", type: "unsigned", value: ({ start, end }) => exact(end - start) },
];

const RIGHTS: readonly RowColumn<MapRun | MapArea>[] = [
  { field: "readable", type: "boolean", value: (run) => (run.state === undefined ? run.readable : null) },
  { field: "writable", type: "boolean", value: (run) => (run.state === undefined ? run.writable : null) },
  { field: "user", type: "boolean", value: (run) => (run.state === undefined ? run.user : null) },
  { field: "executable", type: "boolean", value: (run) => (run.state === undefined ? run.executable : null) },
];

const STATE: readonly RowColumn<MapRun | MapArea>[] = [
  { field: "state", value: ({ state }) => state ?? null },
  { field: "level", type: "integer", value: (run) => (run.state === undefined ? null : run.level) },
];

/** Of runs. */
export const RUN_COLUMNS: readonly RowColumn<MapRun | MapArea>[] = [
  ...RANGE,
  { field: "physical", type: "address", value: (run) => ("physical" in run ? BigInt(run.physical) : null) },
  { field: "pageSize", type: "integer", value: (run) => ("pageSize" in run ? run.pageSize : null) },
  ...RIGHTS,
  { field: "global", type: "boolean", value: (run) => ("global" in run ? run.global : null) },
  ...STATE,
  { field: "entry", type: "address", value: (run) => ("entry" in run ? run.entry : null) },
];

/** Of areas of the same rights. */
export const AREA_COLUMNS: readonly RowColumn<MapRun | MapArea>[] = [
  ...RANGE,
  ...RIGHTS,
  { field: "pageSizes", type: "json", value: (run) => ("pageSizes" in run ? run.pageSizes : null) },
  ...STATE,
];

/** Of a process's mappings, as its system lists them. */
export const MAPPING_COLUMNS: readonly RowColumn<Mapping>[] = [
  ...RANGE,
  { field: "readable", type: "boolean", value: ({ readable }) => readable },
  { field: "writable", type: "boolean", value: ({ writable }) => writable },
  { field: "executable", type: "boolean", value: ({ executable }) => executable },
  { field: "shared", type: "boolean", value: ({ shared }) => shared },
  { field: "path", value: ({ path }) => path },
  { field: "offset", type: "unsigned", value: ({ offset }) => offset },
];

/** The same with `--pages`. */
export const MAPPING_PAGES_COLUMNS: readonly RowColumn<Mapping>[] = [
  ...MAPPING_COLUMNS,
  { field: "present", type: "unsigned", value: ({ pages }) => pages?.present },
  { field: "swapped", type: "unsigned", value: ({ pages }) => pages?.swapped },
  { field: "exclusive", type: "unsigned", value: ({ pages }) => pages?.exclusive },
  { field: "softDirty", type: "unsigned", value: ({ pages }) => pages?.softDirty },
];

function exact(size: bigint): number | bigint {
  return size <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(size) : size;
}
