/**
 * Takes barriers out when equal expressions have been merged: from here on what stands twice is computed twice. Those with a
 * phase stay until fusion (fuse/phases.ts).
 */
import { type Pass, rewriteGraph } from './pass.ts';

export const dropBarriers: Pass = {
  name: 'drop-barriers',
  summary: 'takes out what kept the values of gradients apart from those of the forward part',
  run: (graph, context) =>
    rewriteGraph(graph, context, (node, [input]) =>
      node.op === 'barrier' && input && node.attributes.phase === undefined ? [input] : undefined,
    ),
};
