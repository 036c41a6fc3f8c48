// Adds up the reports that vitest wrote and prints `N passed, N failed, N skipped`, which ends a CI run.
import { existsSync, readFileSync } from "node:fs";

let [passed, failed, skipped] = [0, 0, 0];
for (const file of process.argv.slice(2)) {
  if (!existsSync(file)) {
    console.log(`${file}: no report: these tests didn't run, or didn't end`);
    failed++;
    continue;
  }
  const report = JSON.parse(readFileSync(file, "utf8"));
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped += report.numPendingTests + report.numTodoTests;
  // A file that can't be loaded fails without a test of its own.
  const broken = report.testResults.filter(
    (
      /** @type {{ status: string, assertionResults: { status: string }[] }} */ { status, assertionResults },
    ) => status === "failed" && !assertionResults.some((result) => result.status === "failed"),
  );
  failed += broken.length;
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
