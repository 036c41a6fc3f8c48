/** Commands about what changes, is to change no more, or is elsewhere. */
import { checkOptions, findConnector, parseTarget } from "../../connectors/registry.js";
import { type FreezeCommandOptions, freeze, freezeOptions } from "../commands/freeze.js";
import { type ServeCommandOptions, serve, serveOptions } from "../commands/serve.js";
import { type WatchCommandOptions, watch, watchOptions } from "../commands/watch.js";
import { UsageError } from "../errors.js";
import { type Environment, type GlobalOptions, purposeOf, targetOf } from "../session.js";
import { checkAddresses, example, FIXTURE, type Registry } from "./registry.js";

const TYPE =
  "u8 to u64, i8 to i64, f32, f64, pointer or bool; le or be behind it for another byte order (default u32)";

/** `memtool watch`. */
export function addWatch({ program, session }: Registry): void {
  program
    .command("watch")
    .description(
      "values at addresses of a live target: tells each, and then when it changes, until it is interrupted",
    )
    .argument("<address...>", "0x…, decimal or a symbol, each with +offset or -offset")
    .option("-t, --type <type>", TYPE)
    .option("--every <period>", "looks so often: 100ms (the default), 500us, 2s; 0 is as often as can be")
    .option("--count <lines>", "ends after so many lines")
    .addHelpText(
      "after",
      `${example("watch 0x7ffd1000 0x7ffd1008 --type u64 --every 10ms -c proc:1234")}\n  $ memtool watch jiffies_64 --type u64 -f ${FIXTURE}`,
    )
    .action((addresses: string[], options: WatchCommandOptions) => {
      watchOptions(addresses, options);
      return session(
        (opened) => watch(opened, addresses, options),
        purposeOf(checkAddresses(addresses, false)),
      );
    });
}

/** `memtool freeze`. */
export function addFreeze({ program, environment, globals, session }: Registry): void {
  program
    .command("freeze")
    .description(
      "keeps a value at an address of a live target: writes it whenever another one is there, until it is interrupted; needs --write",
    )
    .argument("<address>", "0x…, decimal or a symbol, each with +offset or -offset")
    .argument("<value>", "decimal, 0x…, a fraction for a float, true or false; one below 0 comes behind --")
    .option("-t, --type <type>", TYPE)
    .option("--every <period>", "looks so often: 100ms (the default), 500us, 2s; 0 is as often as can be")
    .option("--count <looks>", "ends after it has looked so many times")
    .addHelpText(
      "after",
      `${example("freeze 0x7ffd1000 100 --type u32 --every 10ms --write -c proc:1234")}\n(The shipped fixture is compressed, and can't be written.)`,
    )
    .action((address: string, value: string, options: FreezeCommandOptions) => {
      if (!mayWrite(globals(), environment.env))
        throw new UsageError("freeze changes the target: say so with --write");
      freezeOptions(value, options);
      const purpose = purposeOf(checkAddresses([address], false));
      return session((opened) => freeze(opened, address, value, options), purpose);
    });
}

/** `memtool serve`. */
export function addServe({ program, environment, globals, end }: Registry): void {
  program
    .command("serve")
    .description(
      "serves a target to memtool elsewhere (-c net:HOST:PORT), until it is interrupted: for reading, unless --write is given",
    )
    .option(
      "--listen <place>",
      "HOST:PORT, [IPV6]:PORT or unix:PATH (default 127.0.0.1:0, a port that is free)",
    )
    .option(
      "--token-file <file>",
      "the token that clients must have (else that of MEMTOOL_TOKEN; else one is made up, and told)",
    )
    .option("--tls-cert <file>", "a certificate in PEM, for TLS: needed where other machines can reach it")
    .option("--tls-key <file>", "its key in PEM")
    .option("--plain", "be within reach of other machines without TLS")
    .option("--clients <count>", "so many at the same time (default 8)")
    .option("--compress <when>", "auto (when it takes less time than it saves: the default), always or never")
    .addHelpText("after", example(`serve --listen 127.0.0.1:7000 -f ${FIXTURE}`))
    .action(async (options: ServeCommandOptions) => {
      serveOptions(options, globals());
      end(await serve(options, globals(), environment));
    });
}

/** Whether it was said that the target may be written to, by `--write` or the connector's own option, wherever the target is named. */
function mayWrite(options: GlobalOptions, env: Environment["env"]): boolean {
  if (options.write === true) return true;
  const target = targetOf(options, env);
  if (typeof target === "string" || !("connector" in target)) return false;
  const { name, options: given } = parseTarget(target.connector);
  const write = given.get("write");
  if (write === undefined) return false;
  return checkOptions(target.connector, findConnector(name), new Map([["write", write]])).write === true;
}
