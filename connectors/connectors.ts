export { openInWorker, type WorkerSourceOptions } from "./worker-source.js";
