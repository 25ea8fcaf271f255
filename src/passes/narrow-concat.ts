/**
 * Breaks concatenations of many tensors into a tree of small ones, so that one kernel can bind all that it reads.
 */
import type { Value } from '../ir/graph.ts';
import { hasTrait, type Pass, rewriteGraph } from './pass.ts';

/** Inputs of one concatenation: one binding fewer than a kernel has is for the output, and three are left for company. */
const widest = 4;

export const narrowConcat: Pass = {
  name: 'narrow-concat',
  summary: 'breaks wide concatenations into trees',
  run: (graph, context) =>
    rewriteGraph(graph, context, (node, inputs, { emit }) => {
      if (!hasTrait(node, 'movement') || inputs.length <= widest) return undefined;
      let parts: readonly Value[] = inputs;
      while (parts.length > widest) {
        const wider: Value[] = [];
        for (let start = 0; start < parts.length; start += widest) {
          const chunk = parts.slice(start, start + widest);
          const [only] = chunk;
          wider.push(chunk.length === 1 && only ? only : emit(node.op, chunk, node.attributes));
        }
        parts = wider;
      }
      return [emit(node.op, parts, node.attributes)];
    }),
};
