/* What the limits in C share: files, clocks, and the repetitions. Each program prints a line a repetition:
   CPU seconds, wall seconds, checksum (modulo 2^32). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, errno == 0 ? "failed" : strerror(errno));
  exit(1);
}

/* The whole file, mapped and populated. */
static inline const uint8_t *map_file(const char *path, size_t *size) {
  int fd = open(path, O_RDONLY);
  struct stat about;
  if (fd < 0 || fstat(fd, &about) != 0) die(path);
  *size = (size_t)about.st_size;
  void *bytes = mmap(NULL, *size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
  if (bytes == MAP_FAILED) die(path);
  close(fd);
  return bytes;
}

/* A file of u64, little-endian. */
static inline const uint64_t *map_numbers(const char *path, size_t *count) {
  size_t size;
  const uint64_t *numbers = (const uint64_t *)map_file(path, &size);
  *count = size / 8;
  return numbers;
}

/* Memory of this program's own, on pages that exist. */
static inline uint8_t *own_memory(size_t size) {
  void *bytes = NULL;
  if (posix_memalign(&bytes, 2 << 20, size == 0 ? 1 : size) != 0) die("memory");
  memset(bytes, 1, size);
  return bytes;
}

static inline uint64_t number(const char *text) { return strtoull(text, NULL, 0); }

static inline double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Does the work `loops` times in a repetition; `check`, if there is one, gives the checksum afterwards, untimed. The first
   repetition is not printed: it warms up. */
static inline void repeat(uint32_t (*work)(void), uint32_t (*check)(void), uint64_t loops, uint64_t repetitions) {
  for (uint64_t i = 0; i <= repetitions; i++) {
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    uint32_t checksum = 0;
    for (uint64_t j = 0; j < loops; j++) {
      checksum = work();
      __asm__ volatile("" ::: "memory");
    }
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = seconds(CLOCK_MONOTONIC) - wall;
    if (check != NULL) checksum = check();
    if (i != 0) printf("%.9f %.9f %u\n", cpu, wall, checksum);
  }
}
