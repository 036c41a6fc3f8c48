/** What a QEMU process's command line says of its guest: name, machine, memory, monitors (QEMU's qemu-options.hx). */
import { parseOptions, parseSize, type QemuOptions } from "./option-text.js";

/** A memory backend: `-object memory-backend-…`. */
export interface MemoryBackend {
  readonly id: string;
  readonly kind: "ram" | "file" | "memfd" | "other";
  /** Bytes. */
  readonly size: number;
  /** Of a file: as written, so perhaps relative to QEMU's working directory; or a folder, in which QEMU makes a file. */
  readonly path?: string | undefined;
}

/** A memory device: `-device pc-dimm` or `nvdimm`. */
export interface MemoryDevice {
  readonly memdev: string;
  /** Physical address, where the command line says it. */
  readonly address: number | undefined;
}

/** A monitor that speaks QMP. */
export type MonitorAddress = { readonly path: string } | { readonly host: string; readonly port: number };

/** See the module's comment. */
export interface QemuCommandLine {
  /** `x86_64`, `aarch64`: of `qemu-system-ARCHITECTURE`; `undefined` of a program that is called otherwise (`kvm`). */
  readonly system: string | undefined;
  /** `-name`, without which a guest has none. */
  readonly name: string | undefined;
  /** `pc`, `pc-q35-7.2`; `undefined` where the machine is QEMU's default. */
  readonly machine: string | undefined;
  readonly machineOptions: QemuOptions;
  /** RAM in bytes without memory devices; `undefined` where it is the machine's default. */
  readonly ram: number | undefined;
  /** Whether memory can be plugged in while the guest runs (`-m maxmem=…`). */
  readonly pluggable: boolean;
  readonly backends: ReadonlyMap<string, MemoryBackend>;
  /** Backends of NUMA nodes, in the order of the nodes; empty where nodes have none of their own. */
  readonly nodes: readonly string[];
  readonly devices: readonly MemoryDevice[];
  /** Devices whose memory this can't place: virtio-mem, virtio-pmem, SGX. */
  readonly otherDevices: readonly string[];
  /** A folder for the file that all of RAM is in (`-mem-path`). */
  readonly ramPath: string | undefined;
  readonly monitors: readonly MonitorAddress[];
}

/** `qemu-system-x86_64`, `qemu-kvm`, `kvm`, also with a path in front or a version behind. */
const PROGRAM = /^(?:.*\/)?(?:qemu-system-([a-z0-9_]+)|qemu-kvm|kvm)(?:[-.][\d.]+)?$/;

/** Whether a program's name is one of QEMU's system emulators. */
export function isQemuProgram(name: string): boolean {
  return PROGRAM.test(name);
}

/**
 * Reads a command line.
 *
 * @param args With the program's name first. What it doesn't know, and what makes no sense, is left out.
 */
export function parseCommandLine(args: readonly string[]): QemuCommandLine {
  const reader = new Reader();
  for (let i = 1; i < args.length; i++) {
    const option = /^--?([A-Za-z0-9-]+)$/.exec(args[i] as string)?.[1];
    const value = args[i + 1];
    if (option === undefined || value === undefined || !Reader.takes(option)) continue;
    reader.option(option, value);
    i++;
  }
  return reader.done(PROGRAM.exec(args[0] ?? "")?.[1]);
}

const DIMMS = new Set(["pc-dimm", "nvdimm"]);
const OTHER_MEMORY = /^(?:virtio-mem|virtio-pmem|sgx-epc|cxl-type3)/;
/** More than any guest has. */
const MAX_THINGS = 10_000;

class Reader {
  #name: string | undefined;
  readonly #machine = new Map<string, string>();
  #ram: number | undefined;
  #pluggable = false;
  readonly #backends = new Map<string, MemoryBackend>();
  readonly #nodes: { readonly node: number; readonly memdev: string }[] = [];
  #lastNode = -1;
  readonly #devices: MemoryDevice[] = [];
  readonly #otherDevices: string[] = [];
  #ramPath: string | undefined;
  readonly #monitors: MonitorAddress[] = [];
  readonly #chardevs = new Map<string, MonitorAddress>();
  readonly #control: string[] = [];

  static takes(option: string): boolean {
    return OPTIONS.has(option);
  }

  option(option: string, value: string): void {
    switch (option) {
      case "name":
        this.#name = parseOptions(value, "guest").get("guest") ?? this.#name;
        return;
      case "M":
      case "machine":
        for (const [key, text] of parseOptions(value, "type")) this.#machine.set(key, text);
        return;
      case "m": {
        const options = parseOptions(value, "size");
        this.#ram = parseSize(options.get("size"), 2 ** 20) ?? this.#ram;
        this.#pluggable ||= options.has("maxmem");
        return;
      }
      case "object":
        return this.#object(parseOptions(value, "qom-type"));
      case "numa":
        return this.#numa(parseOptions(value, "type"));
      case "device":
        return this.#device(parseOptions(value, "driver"));
      case "mem-path":
        this.#ramPath = value;
        return;
      case "qmp":
      case "qmp-pretty": {
        const address = monitorOf(value);
        if (address !== undefined) this.#monitors.push(address);
        return;
      }
      case "chardev": {
        const options = parseOptions(value, "backend");
        const address = options.get("backend") === "socket" ? socketOf(options) : undefined;
        if (address !== undefined) this.#chardevs.set(options.get("id") ?? "", address);
        return;
      }
      case "mon": {
        const options = parseOptions(value, "chardev");
        if (options.get("mode") === "control") this.#control.push(options.get("chardev") ?? "");
        return;
      }
    }
  }

  #object(options: QemuOptions): void {
    const kind = /^memory-backend-(.+)$/.exec(options.get("qom-type") ?? "")?.[1];
    const id = options.get("id");
    const size = parseSize(options.get("size"));
    if (kind === undefined || id === undefined || size === undefined) return;
    if (this.#backends.size >= MAX_THINGS) return;
    this.#backends.set(id, {
      id,
      kind: kind === "ram" || kind === "file" || kind === "memfd" ? kind : "other",
      size,
      path: options.get("mem-path"),
    });
  }

  #numa(options: QemuOptions): void {
    if (options.get("type") !== "node" || this.#nodes.length >= MAX_THINGS) return;
    const node = Number(options.get("nodeid") ?? this.#lastNode + 1);
    this.#lastNode = node;
    const memdev = options.get("memdev");
    if (memdev !== undefined) this.#nodes.push({ node, memdev });
  }

  #device(options: QemuOptions): void {
    const driver = options.get("driver") ?? "";
    if (OTHER_MEMORY.test(driver)) this.#otherDevices.push(driver);
    const memdev = options.get("memdev");
    if (!DIMMS.has(driver) || memdev === undefined || this.#devices.length >= MAX_THINGS) return;
    const address = parseSize(options.get("addr"));
    // (0 is QEMU's default, "find a place".)
    this.#devices.push({ memdev, address: address === 0 ? undefined : address });
  }

  done(system: string | undefined): QemuCommandLine {
    for (const id of this.#control) {
      const address = this.#chardevs.get(id);
      if (address !== undefined) this.#monitors.push(address);
    }
    return {
      system,
      name: this.#name,
      machine: this.#machine.get("type"),
      machineOptions: this.#machine,
      ram: this.#ram,
      pluggable: this.#pluggable,
      backends: this.#backends,
      nodes: this.#nodes.sort((a, b) => a.node - b.node).map(({ memdev }) => memdev),
      devices: this.#devices,
      otherDevices: this.#otherDevices,
      ramPath: this.#ramPath,
      monitors: this.#monitors,
    };
  }
}

/** Those that `Reader.option` knows. */
const OPTIONS = new Set("name M machine m object numa device mem-path qmp qmp-pretty chardev mon".split(" "));

/** `unix:PATH,server=on`, `tcp:HOST:PORT,…`; `undefined` for what no one can connect to. */
function monitorOf(text: string): MonitorAddress | undefined {
  const [address = ""] = text.split(/,(?!,)/, 1);
  const unix = /^unix:(.+)$/.exec(address)?.[1];
  if (unix !== undefined) return { path: unix };
  const tcp = /^tcp:(.*):(\d+)$/.exec(address);
  return tcp === null ? undefined : tcpAddress(tcp[1] as string, Number(tcp[2]));
}

/** Of a character device; one that QEMU itself connects to (no server) is nobody's to connect to. */
function socketOf(options: QemuOptions): MonitorAddress | undefined {
  const server = options.get("server");
  if (server === undefined || server === "off" || server === "no") return undefined;
  const path = options.get("path") ?? options.get("addr.data.path");
  if (path !== undefined) return { path };
  const port = Number(options.get("port") ?? Number.NaN);
  return Number.isInteger(port) ? tcpAddress(options.get("host") ?? "", port) : undefined;
}

function tcpAddress(host: string, port: number): MonitorAddress | undefined {
  if (port <= 0 || port > 65_535) return undefined;
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  // What QEMU listens on everywhere is reached here.
  return { host: bare === "" || bare === "0.0.0.0" || bare === "::" ? "localhost" : bare, port };
}
