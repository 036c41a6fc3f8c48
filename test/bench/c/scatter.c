/* scatter LIBRARY DEVICE ADDRESSES PAGES LOOPS REPETITIONS: reads pages (addresses in a file of u64) through a library with
   LeechCore's interface, so many a call. */
#include "bench.h"

#include <dlfcn.h>

#include "../../../fixtures/leechcore/abi.h"

static void *handle;
static uint32_t (*read_scatter)(void *, uint32_t, struct scatter **, uint32_t *);
static const uint64_t *addresses;
static size_t count, pages;
static uint8_t *into;
static struct scatter *mems;
static struct scatter **list;
static uint32_t *results;

static uint32_t work(void) {
  uint32_t sum = 0;
  for (size_t first = 0; first < count; first += pages) {
    for (size_t i = 0; i < pages; i++) {
      mems[i].f = 0;
      mems[i].address = addresses[first + i];
    }
    read_scatter(handle, (uint32_t)pages, list, results);
    for (size_t i = 0; i < pages; i++) {
      if (mems[i].f == 0) die("a page");
      sum += into[i * 4096 + ((first + i) * 8) % 4096];
    }
  }
  return sum;
}

int main(int argc, char **argv) {
  if (argc != 7) die("usage: scatter LIBRARY DEVICE ADDRESSES PAGES LOOPS REPETITIONS");
  void *library = dlopen(argv[1], RTLD_NOW);
  if (library == NULL) die(dlerror());
  void *(*create)(struct config *) = (void *(*)(struct config *))dlsym(library, "LcCreate");
  read_scatter = (uint32_t(*)(void *, uint32_t, struct scatter **, uint32_t *))dlsym(library, "LcReadScatterEx");
  if (create == NULL || read_scatter == NULL) die(argv[1]);
  struct config config = {.version = CONFIG_VERSION};
  snprintf(config.device, sizeof config.device, "%s", argv[2]);
  handle = create(&config);
  if (handle == NULL) die(argv[2]);
  addresses = map_numbers(argv[3], &count);
  pages = number(argv[4]);
  count -= count % pages;
  into = own_memory(pages * 4096);
  mems = calloc(pages, sizeof *mems);
  list = calloc(pages, sizeof *list);
  results = calloc(pages, sizeof *results);
  for (size_t i = 0; i < pages; i++) {
    mems[i] = (struct scatter){.version = SCATTER_VERSION, .bytes = into + i * 4096, .length = 4096};
    list[i] = &mems[i];
  }
  repeat(work, NULL, number(argv[5]), number(argv[6]));
  return 0;
}
