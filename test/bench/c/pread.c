/* pread FILE RUNS WINDOW LOOPS REPETITIONS: preads of given runs (offset and length, alternating, in a file of u64), into
   a window of memory that is filled round and round. */
#include "bench.h"

static int fd;
static const uint64_t *runs;
static size_t count, window;
static uint8_t *into;

static uint32_t work(void) {
  uint32_t sum = 0;
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    size_t length = runs[2 * i + 1];
    if (at + length > window) at = 0;
    if (pread(fd, into + at, length, (off_t)runs[2 * i]) != (ssize_t)length) die("pread");
    sum += into[at + (i * 8) % length];
    at += length;
  }
  return sum;
}

int main(int argc, char **argv) {
  if (argc != 6) die("usage: pread FILE RUNS WINDOW LOOPS REPETITIONS");
  fd = open(argv[1], O_RDONLY);
  if (fd < 0) die(argv[1]);
  runs = map_numbers(argv[2], &count);
  count /= 2;
  window = number(argv[3]);
  into = own_memory(window);
  repeat(work, NULL, number(argv[4]), number(argv[5]));
  return 0;
}
