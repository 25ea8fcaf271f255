/**
 * Which of several recipes are worth a look: those that no other beats in both bytes and quality.
 */
export interface Candidate {
  readonly bytes: number;
  /** What is lost; less is better. */
  readonly loss: number;
}

/** Whether each is on the front; of equals all are. What has no number is not. */
export function paretoFront(candidates: readonly Candidate[]): readonly boolean[] {
  const beats = (a: Candidate, b: Candidate): boolean =>
    a.bytes <= b.bytes && a.loss <= b.loss && (a.bytes < b.bytes || a.loss < b.loss);
  return candidates.map((one) => Number.isFinite(one.loss) && !candidates.some((other) => beats(other, one)));
}
