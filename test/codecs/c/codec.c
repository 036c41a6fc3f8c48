/* The codecs' own libraries, one a program: -DLZO, -DSNAPPY, -DZSTD or -DZLIB says which.

   codec compress LEVEL: compresses each block of standard input. A block is its length (u32, little-endian) and its
   bytes, on the way in and out. Levels: lzo 1 (lzo1x_1, as makedumpfile and QEMU have it) or 999; those of zstd, zlib.
   codec decompress: the other way round; before each block comes one of four bytes, the length (u32, little-endian) that
   it must have. A block that the library refuses, or that has another length, becomes one of length 0.
   codec time FILE OUTPUT_LENGTH LOOPS REPETITIONS: decompresses all blocks of a file, for the benchmark. */
#include "../../bench/c/bench.h"

#if defined(LZO)
#include <lzo/lzo1x.h>
static size_t bound(size_t length) { return length + length / 16 + 67; }
static size_t compress_block(const uint8_t *in, size_t length, uint8_t *out, int level) {
  static uint8_t memory[LZO1X_999_MEM_COMPRESS > LZO1X_1_MEM_COMPRESS ? LZO1X_999_MEM_COMPRESS : LZO1X_1_MEM_COMPRESS]
      __attribute__((aligned(16)));
  lzo_uint size = 0;
  int status = level == 999 ? lzo1x_999_compress(in, length, out, &size, memory)
                            : lzo1x_1_compress(in, length, out, &size, memory);
  if (status != LZO_E_OK) die("lzo1x compress");
  return size;
}
static int decompress_block(const uint8_t *in, size_t length, uint8_t *out, size_t wanted) {
  lzo_uint size = wanted;
  return lzo1x_decompress_safe(in, length, out, &size, NULL) == LZO_E_OK && size == wanted;
}
#elif defined(SNAPPY)
#include <snappy-c.h>
static size_t bound(size_t length) { return snappy_max_compressed_length(length); }
static size_t compress_block(const uint8_t *in, size_t length, uint8_t *out, int level) {
  (void)level;
  size_t size = bound(length);
  if (snappy_compress((const char *)in, length, (char *)out, &size) != SNAPPY_OK) die("snappy_compress");
  return size;
}
static int decompress_block(const uint8_t *in, size_t length, uint8_t *out, size_t wanted) {
  size_t size = wanted;
  return snappy_uncompress((const char *)in, length, (char *)out, &size) == SNAPPY_OK && size == wanted;
}
#elif defined(ZSTD)
#include <zstd.h>
static size_t bound(size_t length) { return ZSTD_compressBound(length); }
static size_t compress_block(const uint8_t *in, size_t length, uint8_t *out, int level) {
  static ZSTD_CCtx *context;
  if (context == NULL) context = ZSTD_createCCtx();
  size_t size = ZSTD_compressCCtx(context, out, bound(length), in, length, level);
  if (ZSTD_isError(size)) die("ZSTD_compressCCtx");
  return size;
}
static int decompress_block(const uint8_t *in, size_t length, uint8_t *out, size_t wanted) {
  static ZSTD_DCtx *context;
  if (context == NULL) context = ZSTD_createDCtx();
  return ZSTD_decompressDCtx(context, out, wanted, in, length) == wanted;
}
#elif defined(ZLIB)
#include <zlib.h>
static size_t bound(size_t length) { return compressBound(length); }
static size_t compress_block(const uint8_t *in, size_t length, uint8_t *out, int level) {
  uLongf size = bound(length);
  if (compress2(out, &size, in, length, level) != Z_OK) die("compress2");
  return size;
}
static int decompress_block(const uint8_t *in, size_t length, uint8_t *out, size_t wanted) {
  uLongf size = wanted;
  return uncompress(out, &size, in, length) == Z_OK && size == wanted;
}
#else
#error "which codec?"
#endif

static size_t value(const uint8_t *head) {
  return head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
}

/* The next block of standard input; NULL at its end. */
static uint8_t *next_block(size_t *length) {
  uint8_t head[4];
  if (fread(head, 1, 4, stdin) != 4) return NULL;
  *length = value(head);
  uint8_t *bytes = malloc(*length + 1);
  if (bytes == NULL || fread(bytes, 1, *length, stdin) != *length) die("standard input");
  return bytes;
}

static void write_block(const uint8_t *bytes, size_t length) {
  uint8_t head[4] = {length, length >> 8, length >> 16, length >> 24};
  if (fwrite(head, 1, 4, stdout) != 4 || fwrite(bytes, 1, length, stdout) != length) die("standard output");
}

static const uint8_t *file;
static size_t file_size;
static size_t output_length;
static uint8_t *output;

static uint32_t decompress_all(void) {
  uint32_t sum = 0;
  for (size_t at = 0; at < file_size;) {
    const uint8_t *head = file + at;
    size_t length = value(head);
    if (!decompress_block(head + 4, length, output, output_length)) die("decompress");
    sum += output[0] + output[output_length - 1];
    at += 4 + length;
  }
  return sum;
}

int main(int argc, char **argv) {
#if defined(LZO)
  if (lzo_init() != LZO_E_OK) die("lzo_init");
#endif
  size_t length;
  uint8_t *bytes;
  if (argc == 3 && strcmp(argv[1], "compress") == 0) {
    while ((bytes = next_block(&length)) != NULL) {
      uint8_t *out = malloc(bound(length));
      write_block(out, compress_block(bytes, length, out, (int)number(argv[2])));
      free(out);
      free(bytes);
    }
  } else if (argc == 2 && strcmp(argv[1], "decompress") == 0) {
    uint8_t *about;
    while ((about = next_block(&length)) != NULL) {
      if (length != 4) die("the length of a block");
      size_t wanted = value(about);
      if ((bytes = next_block(&length)) == NULL) die("standard input");
      uint8_t *out = malloc(wanted + 1);
      write_block(out, decompress_block(bytes, length, out, wanted) ? wanted : 0);
      free(out);
      free(bytes);
      free(about);
    }
  } else if (argc == 6 && strcmp(argv[1], "time") == 0) {
    file = map_file(argv[2], &file_size);
    output_length = number(argv[3]);
    output = own_memory(output_length);
    repeat(decompress_all, NULL, number(argv[4]), number(argv[5]));
  } else {
    die("usage: codec compress LEVEL | decompress | time FILE OUTPUT_LENGTH LOOPS REPETITIONS");
  }
  return 0;
}
