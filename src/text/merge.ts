/**
 * SentencePiece's BPE: of all neighbouring pairs whose joined text is a piece, the one with the best score is joined, the left
 * one among equals, until none is left. With a heap this takes n log n instead of the n² of `run.c`, with equal results.
 */
import type { Vocabulary } from './vocabulary.ts';

interface Candidate {
  readonly left: number;
  readonly right: number;
  readonly id: number;
  readonly score: number;
  /** Text length of both symbols when the pair was found: another length means that one of them is gone. */
  readonly length: number;
}

interface Symbols {
  /** Token, or -1 once joined into its left neighbour. */
  readonly ids: number[];
  readonly texts: string[];
  readonly previous: number[];
  readonly next: number[];
}

/** @param start tokens of single characters and bytes */
export function mergePairs(vocabulary: Vocabulary, start: readonly number[]): number[] {
  const count = start.length;
  const symbols: Symbols = {
    ids: [...start],
    // A byte is no text: it joins with nothing.
    texts: start.map((id) => (vocabulary.bytes.has(id) ? '' : (vocabulary.pieces[id] ?? ''))),
    previous: start.map((_, position) => position - 1),
    next: start.map((_, position) => (position + 1 < count ? position + 1 : -1)),
  };
  const heap: Candidate[] = [];
  const offer = (left: number, right: number): void => {
    const candidate = candidateOf(vocabulary, symbols, left, right);
    if (candidate !== undefined) push(heap, candidate);
  };
  for (let position = 0; position + 1 < count; position++) offer(position, position + 1);
  for (let best = pop(heap); best !== undefined; best = pop(heap)) {
    const { left, right, id, length } = best;
    const isStale =
      symbols.ids[left] === -1 ||
      symbols.ids[right] === -1 ||
      (symbols.texts[left] ?? '').length + (symbols.texts[right] ?? '').length !== length;
    if (isStale) continue;
    join(symbols, left, right, id, vocabulary.pieces[id] ?? '');
    offer(symbols.previous[left] ?? -1, left);
    offer(left, symbols.next[left] ?? -1);
  }
  return symbols.ids.filter((id) => id !== -1);
}

function candidateOf(vocabulary: Vocabulary, symbols: Symbols, left: number, right: number): Candidate | undefined {
  if (left < 0 || right < 0) return undefined;
  const first = symbols.texts[left] ?? '';
  const second = symbols.texts[right] ?? '';
  if (first === '' || second === '') return undefined;
  const id = vocabulary.ids.get(first + second);
  if (id === undefined) return undefined;
  return { left, right, id, score: vocabulary.scores[id] ?? 0, length: first.length + second.length };
}

function join(symbols: Symbols, left: number, right: number, id: number, text: string): void {
  symbols.ids[left] = id;
  symbols.texts[left] = text;
  symbols.ids[right] = -1;
  const after = symbols.next[right] ?? -1;
  symbols.next[left] = after;
  if (after >= 0) symbols.previous[after] = left;
}

const isBetter = (a: Candidate, b: Candidate): boolean => a.score > b.score || (a.score === b.score && a.left < b.left);

function push(heap: Candidate[], candidate: Candidate): void {
  let at = heap.push(candidate) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !isBetter(candidate, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = candidate;
}

function pop(heap: Candidate[]): Candidate | undefined {
  const best = heap[0];
  const last = heap.pop();
  if (best === undefined || last === undefined || heap.length === 0) return best;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    let below = heap[child];
    if (below === undefined) break;
    const other = heap[child + 1];
    if (other !== undefined && isBetter(other, below)) {
      child++;
      below = other;
    }
    if (!isBetter(below, last)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
  return best;
}
