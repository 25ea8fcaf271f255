/**
 * Writes model-level ops in tensor-level ones, where no kernel of the profile takes the op as it is.
 *
 * Not here: how an op is decomposed (its definition says), which kernels there are (codegen).
 */
import type { Attributes, Graph, Value } from '../ir/graph.ts';
import type { Emitter, InferContext, OpDefinition } from '../ir/op.ts';
import { opNamed } from '../ir/ops/index.ts';
import type { ProfileName } from '../ir/target.ts';
import { definitionOf, type Pass, rewriteGraph } from './pass.ts';

function staysWhole(
  definition: OpDefinition,
  profile: ProfileName,
  inputs: readonly Value[],
  attributes: Attributes,
  context: InferContext,
): boolean {
  if (definition.level === 'tensor' || !definition.decompose) return true;
  const types = inputs.map((input) => input.type);
  return definition.staysWhole?.(profile, types, attributes, context) ?? false;
}

/** Emits what stays whole and the decomposition of what does not, all the way down. */
function lowering(emitter: Emitter, profile: ProfileName): Emitter {
  const self: Emitter = {
    context: emitter.context,
    emit(op: string, inputs: readonly Value[], attributes: Attributes = {}, region: Graph | undefined = undefined) {
      const definition = opNamed(op);
      if (staysWhole(definition, profile, inputs, attributes, emitter.context) || !definition.decompose)
        return emitter.emit(op, inputs, attributes, region);
      return definition.decompose(self, inputs, attributes, region);
    },
  };
  return self;
}

export function decompose(profile: ProfileName): Pass {
  return {
    name: 'decompose',
    summary: 'writes model-level ops in tensor-level ones',
    run: (graph, context) =>
      rewriteGraph(graph, context, (node, inputs, emitter) =>
        staysWhole(definitionOf(node), profile, node.inputs, node.attributes, context)
          ? undefined
          : [lowering(emitter, profile).emit(node.op, inputs, node.attributes, node.region)],
      ),
  };
}
