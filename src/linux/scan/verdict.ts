/** Facts that speak for and against a place being a structure of some kind. */

/** @internal */
export class Verdict {
  readonly holds: string[] = [];
  readonly against: string[] = [];
  strongs = 0;

  /** A fact that chance does not make; `undefined` for what can't be told. */
  strong(holds: boolean | undefined, text: string): void {
    if (holds === true) this.strongs++;
    this.plain(holds, text);
  }

  plain(holds: boolean | undefined, text: string): void {
    if (holds === true) this.holds.push(text);
    else if (holds === false) this.against.push(text);
  }
}
