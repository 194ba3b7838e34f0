// Waits for an export.
import { ExportFailed, ExportTimeout } from './errors.js';
import { sleep } from './retries.js';
import type { Export } from './types.js';

const FIRST_POLL_SECONDS = 0.5;
const MAX_POLL_SECONDS = 10;

export interface WaitOptions {
  /** Seconds. Default: 3600. */
  timeout?: number;
  /** Called with each status that is not the last. */
  onProgress?: (status: Export) => void;
  /** Ends the wait. */
  signal?: AbortSignal;
}

/**
 * Reads an export, less and less often, until it is completed, and returns it.
 *
 * Throws ExportFailed if it failed, was canceled or is expired, ExportTimeout if it is still processing after the timeout.
 */
export async function waitUntilCompleted(
  read: () => Promise<Export>,
  exportId: string,
  { timeout = 3600, onProgress, signal }: WaitOptions,
): Promise<Export> {
  const deadline = Date.now() + timeout * 1000;
  for (let poll = FIRST_POLL_SECONDS; ; poll = Math.min(poll * 1.5, MAX_POLL_SECONDS)) {
    const status = await read();
    if (status.status === 'completed') return status;
    if (status.status !== 'processing') throw new ExportFailed(status, exportId);
    onProgress?.(status);
    const remaining = (deadline - Date.now()) / 1000;
    if (remaining <= 0) throw new ExportTimeout(`export ${exportId} is at ${status.progress} % after ${timeout} s`);
    await sleep(Math.min(poll, remaining), signal);
  }
}
