/** The worker's side of the decode pool: takes part in each job that it is told of. */
import { parentPort } from "node:worker_threads";
import { DecodeJob } from "../decode-job.js";
import { nodeDecoders } from "../node-decoders.js";

/** A job to take part in. @internal */
export interface DecodeRequest {
  readonly memory: SharedArrayBuffer;
  readonly pages: number;
  readonly bytes: number;
}

parentPort?.on("message", ({ memory, pages, bytes }: DecodeRequest) => {
  new DecodeJob(pages, bytes, memory).work(nodeDecoders);
});
