import { describe, expect, it } from "vitest";
import { targetOf } from "../../../connectors/leechcore/connector.js";
import { deviceString } from "../../../connectors/leechcore/device-string.js";
import { parseTarget } from "../../../connectors/registry.js";

/** What LeechCore is told for a target of the command line. */
function told(text: string): string {
  const { target, options } = parseTarget(text);
  const { device, parameters, remote } = targetOf(
    target,
    Object.fromEntries(options) as Record<string, string>,
  );
  const what = deviceString(text, device, parameters, remote);
  return what.remote === "" ? what.device : `${what.device} at ${what.remote}`;
}

describe("the device string", () => {
  it.each([
    ["leechcore:fpga", "fpga"],
    ["leechcore:fpga:algo=1", "fpga://algo=1"],
    ["leechcore:fpga:algo=1,readsize=0x8000", "fpga://algo=1,readsize=0x8000"],
    ["leechcore:rawudp:ip=192.168.0.222", "rawudp://ip=192.168.0.222"],
    ["leechcore:file:/tmp/a b.raw", "file:///tmp/a b.raw"],
    ["leechcore:file:/tmp/a.raw:library=/x.so", "file:///tmp/a.raw"],
    ["leechcore:file:/tmp/a,b.raw", "file:///tmp/a,b.raw"],
    ["leechcore:file:/tmp/a.raw:volatile=1,write=true", "file://file=/tmp/a.raw,volatile=1"],
    ["leechcore:hibr:/tmp/hiberfil.sys", "hibr:///tmp/hiberfil.sys"],
    ["leechcore:existing:0x7f00", "existing://0x7f00"],
    ["leechcore:vmm:0x1:a=b", "vmm://0x1,a=b"],
    ["leechcore:fpga://algo=1", "fpga://algo=1"],
    ["leechcore:fpga://algo=1:readsize=4096", "fpga://algo=1,readsize=4096"],
    ["leechcore:fpga:remote=grpc://insecure:host", "fpga at grpc://insecure:host"],
    ["leechcore:fpga:remote=grpc://insecure:host:port=2847", "fpga at grpc://insecure:host:port=2847"],
    ["leechcore:fpga:algo=1,remote=rpc://insecure:host", "fpga://algo=1 at rpc://insecure:host"],
    [
      "leechcore:fpga:remote=grpc://host:10.0.0.5:port=2847,server-cert=/a.pem,write=true",
      "fpga at grpc://host:10.0.0.5:port=2847,server-cert=/a.pem",
    ],
  ])("of %s is %s", (text, device) => {
    expect(told(text)).toBe(device);
  });

  it("goes with options of ours, before a remote agent's address too", () => {
    const { target, options } = parseTarget(
      "leechcore:fpga:library=/x.so,map=0-2G@0,4G-6G@2G,max=4G,write,algo=1,remote=grpc://insecure:host",
    );
    expect([...options]).toEqual([]);
    expect(targetOf(target, {})).toEqual({
      device: "fpga",
      parameters: new Map([["algo", "1"]]),
      remote: "grpc://insecure:host",
      library: "/x.so",
      write: true,
      map: "0-2G@0,4G-6G@2G",
      max: 2 ** 32,
    });
    expect(() => targetOf("fpga:max=many,remote=grpc://insecure:host", {})).toThrow(
      /option max is a size, not "many"/,
    );
  });

  it.each([
    ["leechcore", /name a device/],
    ["leechcore:file:", /of which file/],
    ["leechcore:/tmp/a.raw", /is no name of a device; a file is leechcore:file:PATH/],
    ["leechcore:file:/tmp/a,b.raw:volatile=1", /ends a path at/],
    ["leechcore:fpga:a=1;b=2", /ends a parameter at/],
    [`leechcore:file:/${"x".repeat(260)}`, /at most 259 bytes/],
    ["leechcore:file:/a\0b", /zero byte/],
    [
      `leechcore:fpga:${"abcdefghijklmnopq".replace(/./g, "$&=1,").slice(0, -1)}`,
      /at most 16 .* these are 17/,
    ],
  ])("of %j is refused", (text, why) => {
    expect(() => told(text)).toThrow(why);
  });
});
