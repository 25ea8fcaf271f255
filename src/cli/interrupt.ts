/**
 * Ctrl-C for commands that have something to finish: while a handler is set, it is called in place of ending the process.
 */
type Handler = () => void;

let handler: Handler | undefined;

/** Sets the handler; the function given back removes it. */
export function onInterrupt(handle: Handler): () => void {
  handler = handle;
  return () => {
    if (handler === handle) handler = undefined;
  };
}

/** Whether somebody took the interruption upon himself. */
export function takeInterrupt(): boolean {
  if (!handler) return false;
  handler();
  return true;
}
