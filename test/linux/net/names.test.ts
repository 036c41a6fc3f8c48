import { describe, expect, it } from "vitest";
import { ipv6Text } from "../../../src/linux/net/names.js";

describe("addresses of IPv6 as text", () => {
  const bytes = (...words: number[]) => Uint8Array.from(words.flatMap((word) => [word >>> 8, word & 255]));

  it.each([
    ["::", bytes(0, 0, 0, 0, 0, 0, 0, 0)],
    ["::1", bytes(0, 0, 0, 0, 0, 0, 0, 1)],
    ["fe80::", bytes(0xfe80, 0, 0, 0, 0, 0, 0, 0)],
    ["2001:db8::1:0:0:1", bytes(0x2001, 0xdb8, 0, 0, 1, 0, 0, 1)],
    ["2001:db8:0:1:1:1:1:1", bytes(0x2001, 0xdb8, 0, 1, 1, 1, 1, 1)],
    ["::ffff:192.0.2.1", bytes(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x201)],
  ])("are written as RFC 5952 has it: %s", (text, address) => {
    expect(ipv6Text(address)).toBe(text);
  });
});
