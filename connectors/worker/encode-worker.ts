/** The worker's side of the encode pool: takes part in each job that it is told of. */
import { parentPort } from "node:worker_threads";
import { EncodeJob } from "../convert/encode-job.js";
import { nodeEncoders } from "../node-encoders.js";

/** A job to take part in. @internal */
export interface EncodeRequest {
  readonly memory: SharedArrayBuffer;
  readonly pages: number;
  readonly bytes: number;
}

parentPort?.on("message", ({ memory, pages, bytes }: EncodeRequest) => {
  new EncodeJob(pages, bytes, memory).work(nodeEncoders);
});
