/** Why the memory of a process could not be opened. */
import { existsSync, readFileSync } from "node:fs";
import { ConnectorError, errnoName } from "../errors.js";

/** @throws {ConnectorError} `NOT_ON_PLATFORM` where there are no such files. */
export function checkPlatform(name: string, what: string, platform: string = process.platform): void {
  if (platform === "linux") return;
  throw new ConnectorError(
    "NOT_ON_PLATFORM",
    name,
    `${what} only on Linux, and this is ${platform}: open a dump (-f FILE), or memory over the network`,
  );
}

/** Nobody's memory. */
export function noMemory(name: string): ConnectorError {
  return new ConnectorError("NO_MEMORY", name, "it has no memory of its own (a kernel thread or a zombie)");
}

export function explainOpen(name: string, pid: number, error: unknown): ConnectorError {
  const code = errnoName(error);
  // Some kernels (seen: 6.18) refuse to open the memory of what has none, others give one that is empty.
  if (code === "ESRCH" && existsSync(`/proc/${pid}/status`)) return noMemory(name);
  if (code === "ENOENT" || code === "ESRCH") {
    return new ConnectorError("NO_SUCH_PROCESS", name, "there is no such process (or no /proc)", {
      cause: error,
    });
  }
  if (code === "EACCES" || code === "EPERM") {
    return new ConnectorError(
      "NO_PERMISSION",
      name,
      `no permission to read its memory (${code}): run as the same user with kernel.yama.ptrace_scope = 0 ` +
        `(it is ${ptraceScope()}), or with the capability CAP_SYS_PTRACE (as root)`,
      { cause: error },
    );
  }
  return new ConnectorError("OPEN_FAILED", name, `could not be opened (${code ?? String(error)})`, {
    cause: error,
  });
}

function ptraceScope(): string {
  try {
    return readFileSync("/proc/sys/kernel/yama/ptrace_scope", "latin1").trim();
  } catch {
    return "not there: this kernel has no Yama";
  }
}
