/* A process with known memory, for tests.
   target GENERATION: maps at 0x200000000000 (+0) 4,096 pages, whose words tell their address and GENERATION, with
   holes; prints "ready PID"; SIGUSR1 makes it start itself anew with GENERATION + 1, SIGUSR2 makes it fork a child that sleeps, whose number it
   prints. target launch GENERATION: does the same in a child, waits for it, then goes on until it is killed. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BASE 0x200000000000UL
#define PAGES 4096UL

static char self[4096], generation[32];

static void again(int signal) {
  (void)signal;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  char next[32];
  snprintf(next, sizeof next, "%d", atoi(generation) + 1);
  execl(self, self, next, NULL);
  _exit(9);
}

static void split(int signal) {
  (void)signal;
  pid_t child = fork();
  if (child == 0) for (;;) pause();
  dprintf(1, "child %d\n", (int)child);
}

int main(int argc, char **argv) {
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length <= 0) return 2;
  const char *first = argv[1];
  if (argc > 2 && strcmp(first, "launch") == 0) {
    pid_t child = fork();
    if (child != 0) {
      waitpid(child, NULL, 0);
      for (;;) pause();
    }
    first = argv[2];
  }
  /* Addresses that are the same in each program that it starts are the harder case. */
  if ((personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0) {
    personality(ADDR_NO_RANDOMIZE);
    execl(self, self, first, NULL);
    return 5;
  }
  snprintf(generation, sizeof generation, "%s", first);
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
  uint64_t number = strtoull(generation, NULL, 10);
  uint8_t *at = mmap((void *)BASE, PAGES * 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != (void *)BASE) return 3;
  for (uint64_t i = 0; i < PAGES * 512; i++) ((uint64_t *)at)[i] = (BASE + 8 * i) * 0x9e3779b97f4a7c15u ^ number;
  /* More than 4 GiB away, and hardly there. */
  uint8_t *far = mmap((void *)(BASE + 0x140000000UL), 1UL << 31, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (far == MAP_FAILED) return 4;
  for (uint64_t i = 0; i < 64; i++) memcpy(far + i * (1UL << 25), &i, 8);
  munmap(at + 1000 * 4096, 3 * 4096);
  munmap(at + 2000 * 4096, 4096);
  for (int i = 3000; i < 3100; i += 2) munmap(at + i * 4096, 4096);
  mprotect(at + 1500 * 4096, 2 * 4096, PROT_NONE);
  mprotect(at + 1600 * 4096, 4096, PROT_READ);
  signal(SIGUSR1, again);
  signal(SIGUSR2, split);
  dprintf(1, "ready %d\n", (int)getpid());
  for (;;) pause();
}
