/* vmreadv target FILE: holds the file's bytes in memory, prints "PID ADDRESS", and waits for the end of its input.
   vmreadv read PID ADDRESS OFFSETS SIZE CALL LOOPS REPETITIONS: process_vm_readv of SIZE bytes at each offset of a list, CALL of
   them in one call (at most 1,024), into as much memory as one call fills. */
#include "bench.h"
#include <sys/prctl.h>
#include <sys/uio.h>

static pid_t pid;
static uint64_t base;
static const uint64_t *offsets;
static size_t count, size, per_call;
static uint8_t *into;

static uint32_t work(void) {
  static struct iovec remote[1024];
  uint32_t sum = 0;
  for (size_t i = 0; i < count; i += per_call) {
    size_t rows = count - i < per_call ? count - i : per_call;
    for (size_t j = 0; j < rows; j++) {
      remote[j].iov_base = (void *)(base + offsets[i + j]);
      remote[j].iov_len = size;
    }
    struct iovec local = {into, rows * size};
    if (process_vm_readv(pid, &local, 1, remote, rows, 0) != (ssize_t)(rows * size)) die("process_vm_readv");
    for (size_t j = 0; j < rows; j++) sum += into[j * size + ((i + j) * 8) % size];
  }
  return sum;
}

static int target(const char *path) {
  size_t bytes;
  const uint8_t *file = map_file(path, &bytes);
  uint8_t *own = own_memory(bytes);
  memcpy(own, file, bytes);
  /* Where Yama only lets parents look, let everyone. */
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
  printf("%d %llu\n", (int)getpid(), (unsigned long long)(uintptr_t)own);
  fflush(stdout);
  while (getchar() != EOF) {
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "target") == 0) return target(argv[2]);
  if (argc != 9 || strcmp(argv[1], "read") != 0) die("usage: vmreadv read PID ADDRESS OFFSETS SIZE CALL LOOPS REPETITIONS");
  pid = (pid_t)number(argv[2]);
  base = number(argv[3]);
  offsets = map_numbers(argv[4], &count);
  size = number(argv[5]);
  per_call = number(argv[6]);
  if (per_call == 0 || per_call > 1024) die("1 to 1024 a call");
  into = own_memory(per_call * size);
  repeat(work, NULL, number(argv[7]), number(argv[8]));
  return 0;
}
