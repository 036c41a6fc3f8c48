import { defineConfig, type TestUserConfig } from "vitest/config";

/** CI names a file here, to count the tests that ran; people read the default reporter. */
const report = process.env.MEMTOOL_TEST_REPORT;

/** What needs no process of its own: nothing here changes what another file of these sees. */
const LIBRARY = ["codecs", "fixture", "formats", "io", "linux", "memory", "paging", "search"].map(
  (folder) => `test/${folder}/**/*.test.ts`,
);
/** Generous: CI has two cores, and others may be using them. */
const LIMITS = { testTimeout: 30_000, hookTimeout: 60_000 };

const shared: TestUserConfig = {
  // The command line, the documentation's examples and the workers run what was built. `MEMTOOL_NO_BUILD=1` skips it
  // while you work on something else.
  globalSetup: ["./test/support/build-dist.ts"],
  // A process for each file: a test that parks its thread or exhausts memory takes nobody else along.
  pool: "forks",
  execArgv: ["--expose-gc"],
  // Nothing is kept in anybody's home, and no test goes by what another left there.
  env: { MEMTOOL_CACHE: "off" },
};

export default defineConfig({
  test: {
    reporters: report === undefined ? ["default"] : ["default", ["json", { outputFile: report }]],
    maxWorkers: 2,
    coverage: { include: ["src/**", "connectors/**", "cli/**"] },
    projects: [
      {
        test: {
          ...shared,
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: ["test/vm/**", ...LIBRARY],
          ...LIMITS,
        },
      },
      {
        test: {
          ...shared,
          name: "library",
          include: LIBRARY,
          // Two processes for all of them, which load the library once: it takes more than a second.
          isolate: false,
          ...LIMITS,
        },
      },
      {
        test: {
          ...shared,
          name: "vm",
          include: ["test/vm/**/*.test.ts"],
          // A guest under software emulation takes both cores and boots in tens of seconds.
          fileParallelism: false,
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
