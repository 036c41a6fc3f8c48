/** What passed through a source, in lines for people. */
import type { SourceMetrics } from "../../connectors/connectors.js";
import { bytesText, counted } from "./numbers.js";

/** Milliseconds with as many digits as they need. */
function time(milliseconds: number): string {
  if (milliseconds < 1) return `${(milliseconds * 1000).toFixed(milliseconds < 0.01 ? 1 : 0)} µs`;
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 10 ? 2 : 1)} ms`;
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

/** The metrics of a session, as `metrics=true` tells them at its end. */
export function metricsLines(metrics: SourceMetrics): string[] {
  const { batches, rows, rowsWritten, bytes, bytesMoved, rowsFailed, failures, thrown, latency } = metrics;
  const written = rowsWritten === 0 ? "" : `, ${rowsWritten} of them written`;
  const lines = [
    `${counted(batches, "batch", "batches")}, ${counted(rows, "row")}${written}, ${bytesText(bytes)} asked for, ${bytesText(bytesMoved)} moved`,
  ];
  if (rowsFailed > 0) {
    const states = Object.entries(failures).map(([state, count]) => `${state} ${count}`);
    lines.push(`${counted(rowsFailed, "row")} failed, whole or in part: ${states.join(", ")}`);
  }
  if (thrown > 0) lines.push(`${counted(thrown, "batch", "batches")} ended with an error of the connector`);
  if (latency === undefined) return lines;
  const { least, mean, p50, p90, p99, most } = latency;
  lines.push(
    `a batch took ${time(least)} to ${time(most)}, ${time(mean)} on average: half of them up to ${time(p50)}, 90 % up to ${time(p90)}, 99 % up to ${time(p99)}`,
    `${time(metrics.busy)} in all, within ${time(metrics.elapsed)}`,
  );
  return lines;
}
