/**
 * The column walker as WebAssembly, generated for one page-table format: the walk of `PlainWalker` with its levels
 * unrolled and the format's masks and shifts as constants, over tables and links that lie in a linear memory. V8 checks
 * bounds, and reloads an array's pointer and length, at each access of a typed array; here it need not, so this runs
 * about as fast as the same walk in C.
 */
import {
  assemble,
  block,
  type Code,
  f64,
  get,
  i32,
  i64,
  leave,
  leaveIf,
  loop,
  set,
  tee,
  when,
} from "../../wasm/assemble.js";
import { instantiate, WASM_PAGE, type Wasm, type WasmMemory } from "../../wasm/platform.js";
import { LEAF } from "../formats/entry-kinds.js";
import { type CompiledMmu, SOUND } from "../formats/mmu.js";
import { ALL_RIGHTS } from "../formats/rights.js";
import { askedAt, LINK_LEAF, LINK_LEVEL_SHIFT, LINK_SLOT_SHIFT, LINK_TAG } from "../tables/links.js";
import { ASKED_ROW_SHIFT, BLOCK, BY_HAND, type ColumnWalker } from "./column-walker.hot.js";

// Where everything lies in the memory: the block's columns, then the rights by bits of an entry and by combined ones,
// tables, links.
const ADDRESSES = 0;
const PHYSICAL = ADDRESSES + 8 * BLOCK;
const LEFT = PHYSICAL + 8 * BLOCK;
const ASKED = LEFT + 4 * BLOCK;
const LEVELS = ASKED + 8 * BLOCK;
const RIGHTS = LEVELS + BLOCK;
const GRANTS = RIGHTS + BLOCK;
const SETTLED = GRANTS + 8192;
const ARENA = SETTLED + 64;

/** Where a cache keeps its tables. */
export interface TableMemory {
  readonly memory: WasmMemory;
  /** Tables at most. */
  readonly capacity: number;
  readonly arena: Uint32Array;
  readonly links: Int32Array;
}

const linksAt = (capacity: number, tableBytes: number) => ARENA + capacity * tableBytes;
const pagesFor = (capacity: number, tableBytes: number) =>
  Math.ceil((ARENA + capacity * (tableBytes + tableBytes / 2)) / WASM_PAGE);

/** Memory for tables and their links. (The system gives it page by page, as it is first used.) @throws if there is none. */
export function makeTableMemory(wasm: Wasm, capacity: number, tableBytes: number): TableMemory {
  const pages = pagesFor(capacity, tableBytes);
  const memory = new wasm.Memory({ initial: pages, maximum: pages });
  return {
    memory,
    capacity,
    arena: new Uint32Array(memory.buffer, ARENA, (capacity * tableBytes) / 4),
    links: new Int32Array(memory.buffer, linksAt(capacity, tableBytes), (capacity * tableBytes) / 8),
  };
}

/** Modules by format, then by capacity: both are constants in the code. */
const modules = new WeakMap<CompiledMmu, Map<number, object>>();

function moduleFor(wasm: Wasm, mmu: CompiledMmu, capacity: number): object {
  let ofFormat = modules.get(mmu);
  if (ofFormat === undefined) {
    ofFormat = new Map();
    modules.set(mmu, ofFormat);
  }
  let module = ofFormat.get(capacity);
  if (module === undefined) {
    module = new wasm.Module(walkCode(mmu, capacity));
    ofFormat.set(capacity, module);
  }
  return module;
}

/** See the module's comment. */
export class WasmWalker implements ColumnWalker {
  readonly addresses: BigUint64Array;
  readonly words: Uint32Array;
  readonly physical: Float64Array;
  readonly levels: Uint8Array;
  readonly rights: Uint8Array;
  readonly left: Int32Array;
  readonly asked: Uint32Array;
  askedCount = 0;
  readonly #walk: (rootSlot: number, rows: number, ask: number) => number;

  /** @throws what the host throws where code may not be compiled. */
  constructor(wasm: Wasm, tables: TableMemory, mmu: CompiledMmu) {
    const { memory, capacity } = tables;
    const { buffer } = memory;
    this.addresses = new BigUint64Array(buffer, ADDRESSES, BLOCK);
    this.words = new Uint32Array(buffer, ADDRESSES, 2 * BLOCK);
    this.physical = new Float64Array(buffer, PHYSICAL, BLOCK);
    this.left = new Int32Array(buffer, LEFT, BLOCK);
    this.asked = new Uint32Array(buffer, ASKED, 2 * BLOCK);
    this.levels = new Uint8Array(buffer, LEVELS, BLOCK);
    this.rights = new Uint8Array(buffer, RIGHTS, BLOCK);
    const { walk } = instantiate(wasm, moduleFor(wasm, mmu, capacity), memory);
    this.#walk = walk as (rootSlot: number, rows: number, ask: number) => number;
    new Uint8Array(buffer, GRANTS, mmu.grants.length).set(mmu.grants);
    new Uint8Array(buffer, SETTLED, mmu.settled.length).set(mmu.settled);
  }

  walk(rootSlot: number, rows: number, ask: boolean): number {
    const counts = this.#walk(rootSlot, rows, ask ? 1 : 0);
    this.askedCount = counts >>> 16;
    return counts & 0xffff;
  }
}

/** The words of a mask as one number. */
const mask64 = (lo: number | undefined, hi: number | undefined) =>
  (BigInt((hi ?? 0) >>> 0) << 32n) | BigInt((lo ?? 0) >>> 0);

/**
 * `walk(rootSlot, rows, ask)`: as `ColumnWalker.walk`; returns the number of rows left, and from bit 16 on that of
 * entries asked about.
 */
function walkCode(mmu: CompiledMmu, capacity: number): Uint8Array<ArrayBuffer> {
  const { levels, def } = mmu;
  const hasExclusions = mmu.settled.some((rights, combined) => rights !== combined);
  const links = linksAt(capacity, mmu.tableBytes);
  // Parameters, and locals of 32 bits; then those of 64.
  const [rootSlot, rows, ask, row, at, link, rights, table, left, asked] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const [address, entry] = [10, 11];
  const tableShift = mmu.tableShift + 2;
  // A table is known by where its links begin, relative to all links: its entries begin at twice that in the arena.
  const tableOf = (link: Code) => {
    const slot = i32.and(link, i32.const(-(2 ** LINK_SLOT_SHIFT)));
    if (tableShift === LINK_SLOT_SHIFT) return slot;
    return tableShift > LINK_SLOT_SHIFT
      ? i32.shl(slot, i32.const(tableShift - LINK_SLOT_SHIFT))
      : i32.shrU(slot, i32.const(LINK_SLOT_SHIFT - tableShift));
  };
  const linkAt = (level: number) => {
    const mask = 2 ** (def.splits[levels - level] as number) - 1;
    const shift = BigInt((mmu.shift[level] as number) - 2);
    return i32.or(
      get(table),
      i32.and(i32.wrap(i64.shrU(get(address), i64.const(shift))), i32.const(4 * mask)),
    );
  };
  const entryAt = (link: Code) => i64.load(i32.shl(link, i32.const(1)), ARENA);
  const to = (local: number, shift: number) => i32.shl(get(local), i32.const(shift));

  /** Writes the results of a row whose leaf, of a level, is in `entry`. */
  const leaf = (level: number): Code => {
    const size = BigInt.asUintN(64, 1n << BigInt(mmu.shift[level] as number));
    const physical = i64.or(
      i64.and(get(entry), i64.const(mask64(mmu.leafAddressLo[level], mmu.leafAddressHi[level]))),
      i64.and(get(address), i64.const(size - 1n)),
    );
    return [
      ...f64.store(to(row, 3), f64.ofI64(physical), PHYSICAL),
      ...i32.store8(get(row), i32.const(level), LEVELS),
      ...i32.store8(get(row), hasExclusions ? i32.load8U(get(rights), SETTLED) : get(rights), RIGHTS),
    ];
  };
  const narrow = (by: Code) => set(rights, i32.and(get(rights), by));
  const tagIs = (tag: number) => i32.eq(i32.and(get(link), i32.const(LINK_TAG)), i32.const(tag));
  const increase = (count: number) => set(count, i32.add(get(count), i32.const(1)));
  const leaveRow = (value: Code): Code => [...i32.store(to(left, 2), value, LEFT), ...increase(left)];

  // Depths of what one of these leaves, from inside of the levels' code.
  const [WAITS, HAND, NEXT] = [0, 1, 2];
  const above: Code[] = [];
  for (let level = levels; level > 1; level--) {
    const isTable = tagIs(level << LINK_LEVEL_SHIFT);
    const other: Code[] = [];
    if (mmu.kinds.subarray(level << 12, (level + 1) << 12).includes(LEAF)) {
      other.push(
        when(
          tagIs(LINK_LEAF | (level << LINK_LEVEL_SHIFT)),
          narrow(get(link)),
          set(entry, entryAt(get(at))),
          leaf(level),
          leave(NEXT + 2),
        ),
      );
    }
    other.push(
      when(
        i32.and(i32.eqz(get(link)), get(ask)),
        i32.store(to(asked, 3), i32.or(i32.shl(get(at), i32.const(1)), i32.const(level)), ASKED),
        i32.store(to(asked, 3), i32.or(to(row, ASKED_ROW_SHIFT), get(rights)), ASKED + 4),
        increase(asked),
        i32.store(get(at), i32.const(askedAt(level)), links),
        leave(WAITS + 2),
      ),
      leaveIf(WAITS + 1, i32.eq(get(link), i32.const(askedAt(level)))),
      leave(HAND + 1),
    );
    above.push(
      set(link, i32.load(tee(at, linkAt(level)), links)),
      when(i32.eqz(isTable), ...other),
      narrow(get(link)),
      set(table, tableOf(get(link))),
    );
  }
  const reserved = mask64(mmu.leafReservedLo[1], mmu.leafReservedHi[1]);
  const last: Code[] = [
    set(entry, entryAt(linkAt(1))),
    set(link, i32.load8U(i32.and(i32.wrap(get(entry)), i32.const(0xfff)), GRANTS)),
    leaveIf(HAND, i32.eqz(i32.and(get(link), i32.const(SOUND)))),
    ...(reserved === 0n
      ? []
      : [leaveIf(HAND, i64.ne(i64.and(get(entry), i64.const(reserved)), i64.const(0n)))]),
    narrow(get(link)),
    narrow(i32.load8U(i32.wrap(i64.shrU(get(entry), i64.const(52n))), GRANTS + 4096)),
    leaf(1),
    leave(NEXT),
  ];
  const body = block(
    loop(
      leaveIf(1, i32.geU(get(row), get(rows))),
      block(
        block(
          block(
            set(address, i64.load(to(row, 3), ADDRESSES)),
            leaveIf(HAND, isNotCanonical(mmu, address)),
            set(table, i32.shl(get(rootSlot), i32.const(tableShift))),
            set(rights, i32.const(ALL_RIGHTS)),
            ...above,
            ...last,
          ),
          leaveRow(get(row)),
          leave(1),
        ),
        leaveRow(i32.or(get(row), i32.const(BY_HAND))),
      ),
      increase(row),
      leave(0),
    ),
  );
  return assemble(
    {
      name: "walk",
      parameters: 3,
      locals: { i32: 7, i64: 2 },
      body: [...body, ...i32.or(get(left), i32.shl(get(asked), i32.const(16)))],
    },
    pagesFor(capacity, mmu.tableBytes),
  );
}

/** Whether the bits above the translated ones are what they must not be. */
function isNotCanonical({ def, shift, levels }: CompiledMmu, address: number): Code {
  const bits = BigInt((shift[levels] as number) + (def.splits[0] as number));
  if (def.canonical === "sign-extended") {
    const unused = i64.const(64n - bits);
    return i64.ne(i64.shrS(i64.shl(get(address), unused), unused), get(address));
  }
  const expected = def.canonical === "ones" ? 2n ** (64n - bits) - 1n : 0n;
  return i64.ne(i64.shrU(get(address), i64.const(bits)), i64.const(expected));
}
