import { type BoundView, UNANSWERED } from "../../io/index.js";

/** Fails a view that a layer threw at, unless that has answered it. */
export function failThrown(view: BoundView, error: unknown): void {
  view.packet.cause ??= error;
  if (!view.answered) view.fail(UNANSWERED);
}
