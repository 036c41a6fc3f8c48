/* copy FILE OFFSETS SIZE WINDOW anonymous|mapped LOOPS REPETITIONS: memcpy of SIZE bytes from each offset of a list, into
   a window of memory that is filled round and round; out of the mapped file, or out of memory that holds it. */
#include "bench.h"

static const uint8_t *from;
static const uint64_t *offsets;
static size_t count, size, window;
static uint8_t *into;

static uint32_t work(void) {
  uint32_t sum = 0;
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    memcpy(into + at, from + offsets[i], size);
    sum += into[at + (i * 8) % size];
    at += size;
    if (at >= window) at = 0;
  }
  return sum;
}

int main(int argc, char **argv) {
  if (argc != 8) die("usage: copy FILE OFFSETS SIZE WINDOW anonymous|mapped LOOPS REPETITIONS");
  size_t bytes;
  from = map_file(argv[1], &bytes);
  if (strcmp(argv[5], "anonymous") == 0) {
    uint8_t *own = own_memory(bytes);
    memcpy(own, from, bytes);
    from = own;
  }
  offsets = map_numbers(argv[2], &count);
  size = number(argv[3]);
  window = number(argv[4]);
  into = own_memory(window);
  repeat(work, NULL, number(argv[6]), number(argv[7]));
  return 0;
}
