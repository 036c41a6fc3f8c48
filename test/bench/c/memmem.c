/* memmem FILE NEEDLE PIECE LOOPS REPETITIONS: reads the file in pieces that overlap and looks for the needle (hex) with the C
   library's memmem: how many there are, and the sum of where. */
#include "bench.h"

static int fd;
static uint8_t needle[256];
static size_t length, piece;
static uint8_t *memory;

static uint32_t work(void) {
  uint32_t sum = 0;
  size_t kept = 0;
  off_t at = 0;
  for (;;) {
    ssize_t got = pread(fd, memory + kept, piece, at);
    if (got < 0) die("pread");
    if (got == 0) break;
    const uint8_t *from = memory, *end = memory + kept + (size_t)got;
    for (;;) {
      const uint8_t *hit = memmem(from, (size_t)(end - from), needle, length);
      if (hit == NULL) break;
      sum += 1 + (uint32_t)(at - (off_t)kept + (hit - memory));
      from = hit + 1;
    }
    at += got;
    kept = (size_t)(end - memory) < length - 1 ? (size_t)(end - memory) : length - 1;
    memmove(memory, end - kept, kept);
  }
  return sum;
}

int main(int argc, char **argv) {
  if (argc != 6) die("usage: memmem FILE NEEDLE PIECE LOOPS REPETITIONS");
  fd = open(argv[1], O_RDONLY);
  if (fd < 0) die(argv[1]);
  length = strlen(argv[2]) / 2;
  if (length == 0 || length > sizeof needle) die("needle");
  for (size_t i = 0; i < length; i++) {
    unsigned byte;
    if (sscanf(argv[2] + 2 * i, "%2x", &byte) != 1) die("needle");
    needle[i] = (uint8_t)byte;
  }
  piece = number(argv[3]);
  memory = own_memory(piece + length);
  repeat(work, NULL, number(argv[4]), number(argv[5]));
  return 0;
}
