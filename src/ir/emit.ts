/**
 * Emitting nodes with inferred types: what lowering, decompositions and passes write graphs with.
 */
import { InternalError } from '../support/error.ts';
import type { Span } from '../support/source.ts';
import { type Attributes, type Graph, GraphBuilder, type Node, onlyOutput, type Value } from './graph.ts';
import { type Emitter, type InferContext, type InferFailure, isFailure } from './op.ts';
import { inferOp, opNamed } from './ops/index.ts';
import type { Dim } from './symbolic.ts';
import type { DType, TensorType } from './types.ts';

/** The place in the model and the name that emitted nodes carry. */
export interface EmitDefaults {
  readonly span?: Span | undefined;
  readonly label?: string | undefined;
}

export interface GraphEmitter extends Emitter {
  readonly builder: GraphBuilder;
  /** The value, or why the types do not fit (`isFailure` tells). */
  tryEmit(op: string, inputs: readonly Value[], attributes?: Attributes, region?: Graph): Value | InferFailure;
  /** Writes to the same graph with another place and name. */
  at(span: Span | undefined, label?: string): GraphEmitter;
  input(name: string, type: TensorType): Value;
  /**
   * A tensor of the checkpoint; several paths are concatenated along axis 0 and `type` is that of the whole, or of the rows
   * from `first` on that are meant.
   */
  weight(paths: readonly string[], type: TensorType, first?: number): Value;
  /** A constant; a scalar when `shape` is left out. */
  constant(values: number | readonly number[], dtype: DType, shape?: readonly Dim[]): Value;
  /** A node with a region; its types are those of the region's results. */
  fused(skeleton: string, inputs: readonly Value[], region: Graph): Node;
}

export function createEmitter(builder: GraphBuilder, context: InferContext, defaults: EmitDefaults = {}): GraphEmitter {
  const { span, label } = defaults;
  const place = { span, label };
  const emitter: GraphEmitter = {
    context,
    builder,
    tryEmit(op, inputs, attributes = {}, region = undefined) {
      const types = inputs.map((value) => value.type);
      const inferred = inferOp(opNamed(op), types, attributes, context);
      if (isFailure(inferred)) return inferred;
      return onlyOutput(builder.add(op, inputs, inferred, { attributes, ...(region ? { region } : {}), ...place }));
    },
    emit(op, inputs, attributes = {}, region = undefined) {
      const result = emitter.tryEmit(op, inputs, attributes, region);
      if (isFailure(result)) throw new InternalError(`cannot emit \`${op}\`: ${result.failure}`);
      return result;
    },
    at: (otherSpan, otherLabel) => createEmitter(builder, context, { span: otherSpan, label: otherLabel ?? label }),
    input: (name, type) => builder.input(name, type, span),
    weight(paths, type, first) {
      const attributes = first === undefined ? { paths } : { paths, first };
      return onlyOutput(builder.add('weight', [], [type], { attributes, ...place }));
    },
    constant: (values, dtype, shape = []) =>
      emitter.emit('constant', [], { values: typeof values === 'number' ? [values] : values, dtype, shape }),
    fused: (skeleton, inputs, region) =>
      builder.add(
        'fused',
        inputs,
        region.results.map((result) => result.value.type),
        { attributes: { skeleton }, region, ...place },
      ),
  };
  return emitter;
}

/**
 * What a node means in lower ops, as a graph whose inputs stand for its operands; undefined when its op has no
 * decomposition.
 */
export function decomposeNode(node: Node, context: InferContext): Graph | undefined {
  const definition = opNamed(node.op);
  if (!definition.decompose) return undefined;
  const emitter = createEmitter(new GraphBuilder(), context, { span: node.span, label: node.label });
  const operands = node.inputs.map((value, at) =>
    emitter.input((definition.operands[at] ?? `operand${at}`).replace(/\?$|\.\.\.$/, ''), value.type),
  );
  const value = definition.decompose(emitter, operands, node.attributes, node.region);
  return emitter.builder.finish(node.op, [{ name: 'result', value }]);
}
