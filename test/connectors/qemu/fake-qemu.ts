/** A process that calls itself QEMU and has its monitor, for tests: it serves one client at a time, as QEMU does. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

export interface FakeQemuOptions {
  /** As on QEMU's command line: `unix:PATH`, or `tcp:127.0.0.1:PORT`. */
  readonly qmp: string;
  /** Whether it listens there itself; else it only says so. Default: true. */
  readonly listens?: boolean;
  /** Commands that it refuses. */
  readonly refuses?: readonly string[];
  /** Commands that it answers with nothing in it. */
  readonly empty?: readonly string[];
}

/** One that is running. */
export interface FakeQemu {
  readonly pid: number;
  /** Commands that it was given, but for those that every client begins with. */
  readonly commands: string[];
  close(): Promise<void>;
}

const SCRIPT = `
const { refuses, empty, listens, qmp } = JSON.parse(process.argv[1]);
let running = true, client;
const waiting = [];
const answers = { "query-status": () => ({ running }), "query-target": () => ({ arch: "x86_64" }), "human-monitor-command": () => "",
  qmp_capabilities: () => ({}), stop: () => { running = false; return {}; }, cont: () => { running = true; return {}; } };
function serve(socket) {
  if (client !== undefined) return waiting.push(socket);
  client = socket;
  let text = "";
  const send = (value) => socket.write(JSON.stringify(value) + "\\r\\n");
  socket.on("data", (bytes) => {
    const lines = (text + bytes).split("\\n");
    text = lines.pop();
    for (const { execute, id } of lines.map((line) => JSON.parse(line))) {
      console.log(execute);
      if (refuses.includes(execute)) send({ id, error: { class: "GenericError", desc: "not now" } });
      else send({ id, return: empty.includes(execute) ? {} : answers[execute]() });
    }
  });
  send({ QMP: { version: {}, capabilities: [] } });
}
const over = (socket) => {
  if (client !== socket) return waiting.splice(waiting.indexOf(socket), 1);
  client = undefined;
  if (waiting.length > 0) serve(waiting.shift());
};
const [, path, port] = /^(?:unix:(.*)|tcp:.*:(\\d+))$/.exec(qmp);
if (listens) require("net").createServer((socket) => {
  socket.on("error", () => {}).on("close", () => over(socket));
  serve(socket);
}).listen(path ?? { port: Number(port), host: "127.0.0.1" }, () => console.log("ready"));
else { setInterval(() => {}, 1000); console.log("ready"); }
`;

const QUIET = new Set(["ready", "qmp_capabilities", "query-status", "query-target", "human-monitor-command"]);

export async function startFakeQemu(options: FakeQemuOptions): Promise<FakeQemu> {
  const settings = JSON.stringify({ listens: true, refuses: [], empty: [], ...options });
  const child = spawn(process.execPath, ["-e", SCRIPT, "--", settings, "-qmp", options.qmp], {
    argv0: "qemu-system-x86_64",
    stdio: ["ignore", "pipe", "inherit"],
  });
  const commands: string[] = [];
  const closed = once(child, "close");
  let text = "";
  await new Promise<void>((resolve) => {
    child.stdout.on("data", (bytes) => {
      const lines = (text + String(bytes)).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "ready") resolve();
        if (!QUIET.has(line)) commands.push(line);
      }
    });
  });
  return {
    pid: child.pid as number,
    commands,
    close: async () => {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

/** The letter of a process's state: `T` for one that a signal has stopped, `Z` for one that has ended. */
export function stateOf(pid: number): string {
  const text = readFileSync(`/proc/${pid}/stat`, "latin1");
  return text.charAt(text.lastIndexOf(")") + 2);
}
