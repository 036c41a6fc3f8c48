import { type Address, type BoundView, OUTSIDE, type PacketIo } from "../../src/io/index.js";

/** Memory with a few windows of bytes at 64-bit addresses; everything else is `outside`. Answers at once. */
export class WindowsIo implements PacketIo<Address> {
  readonly windows: { readonly start: bigint; readonly bytes: Uint8Array }[] = [];
  /** How many views came. */
  sent = 0;

  /** Puts bytes at an address. */
  put(start: bigint, bytes: Uint8Array): this {
    this.windows.push({ start, bytes });
    return this;
  }

  sendIo(address: Address, view: BoundView): void {
    this.sent++;
    let at = BigInt(address);
    let rest: BoundView | undefined = view;
    while (rest !== undefined) {
      const piece: BoundView = rest;
      const inside = this.windows.find((w) => w.start <= at && at < w.start + BigInt(w.bytes.length));
      const next = this.windows.filter((w) => w.start > at).sort((a, b) => (a.start < b.start ? -1 : 1))[0];
      const end = inside !== undefined ? inside.start + BigInt(inside.bytes.length) : next?.start;
      const room = end === undefined ? piece.length : Number(end - at);
      rest = room < piece.length ? piece.split(room) : undefined;
      const length = piece.length;
      if (inside === undefined) piece.fail(OUTSIDE);
      else piece.transfer(inside.bytes, Number(at - inside.start));
      at += BigInt(length);
    }
  }
}
