/** What a page-table entry is, and what a walk ended at. */

/** Maps memory. */
export const LEAF = 1;
export const NOT_PRESENT = 2;
/** Makes no sense: reserved bits, a combination that there is not. */
export const MALFORMED = 3;
/** Of an entry: it points to a table. Of a walk: a table that is not in the cache; see `Step`. */
export const MISSING = 4;
/** An entry in the unreadable part of a table. */
export const UNREADABLE = 5;
/** Not present for the processor; the operating system keeps its bytes elsewhere. */
export const SWAPPED = 6;
