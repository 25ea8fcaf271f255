/**
 * Quantization-aware training: what reads a weight with a number format computes with the numbers that the format would give
 * back, while the weight itself stays f32 and its gradient goes straight through. Jacob et al. 2018.
 */
import { createEmitter } from '../../ir/emit.ts';
import type { GraphBuilder, Node, Value, WeightFormat } from '../../ir/graph.ts';
import type { InferContext } from '../../ir/op.ts';
import { reshapeTo } from '../../ir/ops/build.ts';
import { constantDim, constantValue, multiplyDims } from '../../ir/symbolic.ts';
import { isTable } from '../fuse/roles.ts';

export class FakeQuantizer {
  readonly #builder: GraphBuilder;
  readonly #context: InferContext;
  /** Weights of the new graph that have a format, and what stands for them. */
  readonly #formats = new Map<Value, WeightFormat>();
  readonly #made = new Map<Value, Value>();

  constructor(builder: GraphBuilder, context: InferContext) {
    this.#builder = builder;
    this.#context = context;
  }

  mark(weight: Value, format: WeightFormat | undefined): void {
    if (format !== undefined && format.kind !== 'f16') this.#formats.set(weight, format);
  }

  /** The operands of a node with weights as their formats give them back; tables of lookups stay, their rows are quantized after. */
  operands(node: Node, inputs: readonly Value[]): readonly Value[] {
    return inputs.map((input, at) => {
      const format = this.#formats.get(input);
      return format === undefined || this.#looksUp(node, at, format) ? input : this.#whole(input, format, node);
    });
  }

  /** What a lookup gave: rows of a table that has a format. */
  rows(node: Node, inputs: readonly Value[], output: Value): Value {
    const at = inputs.findIndex((input) => this.#formats.has(input));
    const table = inputs[at];
    const format = table && this.#formats.get(table);
    return format && this.#looksUp(node, at, format) ? this.#quantize(output, format, node) : output;
  }

  /** Looking rows up and quantizing rows go in either order, and few rows are less work. */
  #looksUp(node: Node, at: number, format: WeightFormat): boolean {
    return node.op === 'gather' && isTable(node, at) && !format.transposed;
  }

  #whole(weight: Value, format: WeightFormat, node: Node): Value {
    const known = this.#made.get(weight);
    if (known) return known;
    const emitter = createEmitter(this.#builder, this.#context, { span: node.span, label: node.label });
    const { shape } = weight.type;
    let result: Value;
    if (format.transposed) {
      const turn = (value: Value) => emitter.emit('transpose', [value], { permutation: [1, 0] });
      result = turn(this.#quantize(turn(weight), format, node));
    } else {
      const [rows = constantDim(1), ...others] = shape;
      const matrix = reshapeTo(emitter, weight, [rows, others.reduce(multiplyDims, constantDim(1))]);
      result = reshapeTo(emitter, this.#quantize(matrix, format, node), shape);
    }
    this.#made.set(weight, result);
    return result;
  }

  #quantize(value: Value, { kind, group, asymmetric }: WeightFormat, node: Node): Value {
    const emitter = createEmitter(this.#builder, this.#context, { span: node.span, label: node.label });
    const width = constantValue(value.type.shape.at(-1) ?? constantDim(1)) ?? 1;
    return emitter.emit('fake_quantize', [value], {
      bits: kind === 'int4' ? 4 : 8,
      group: group ?? width,
      asymmetric: asymmetric ?? false,
    });
  }
}
