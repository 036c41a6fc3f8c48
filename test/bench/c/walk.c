/* walk RAM ROOT ADDRESSES LOOPS REPETITIONS: an unrolled walk of x86-64's four levels (Intel SDM vol. 3A, 4.5) over
   the mapped RAM, for each address of a list, into a column of physical addresses; all ones where nothing is mapped.
   Of an entry it asks only "present" and "large". */
#include "bench.h"

#define FRAME 0x000ffffffffff000ull
#define NOWHERE UINT64_MAX

static const uint8_t *ram;
static uint64_t root;
static const uint64_t *addresses;
static size_t count;
static uint64_t *physical;

static inline uint64_t entry(uint64_t table, uint64_t address, int shift) {
  return *(const uint64_t *)(ram + table + ((address >> shift) & 511) * 8);
}

static inline uint64_t walk(uint64_t address) {
  uint64_t e = entry(root, address, 39);
  if ((e & 1) == 0) return NOWHERE;
  e = entry(e & FRAME, address, 30);
  if ((e & 1) == 0) return NOWHERE;
  if ((e & 128) != 0) return (e & FRAME & ~0x3fffffffull) | (address & 0x3fffffff);
  e = entry(e & FRAME, address, 21);
  if ((e & 1) == 0) return NOWHERE;
  if ((e & 128) != 0) return (e & FRAME & ~0x1fffffull) | (address & 0x1fffff);
  e = entry(e & FRAME, address, 12);
  if ((e & 1) == 0) return NOWHERE;
  return (e & FRAME) | (address & 0xfff);
}

static uint32_t translate_all(void) {
  for (size_t i = 0; i < count; i++) physical[i] = walk(addresses[i]);
  return 0;
}

static uint32_t add_up(void) {
  uint32_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += (uint32_t)physical[i];
  return sum;
}

int main(int argc, char **argv) {
  if (argc != 6) die("usage: walk RAM ROOT ADDRESSES LOOPS REPETITIONS");
  size_t size;
  ram = map_file(argv[1], &size);
  root = number(argv[2]);
  addresses = map_numbers(argv[3], &count);
  physical = (uint64_t *)own_memory(count * 8);
  repeat(translate_all, add_up, number(argv[4]), number(argv[5]));
  return 0;
}
