/**
 * `sorac/cpu`: the reference interpreter as a device, for machines without any adapter. The runtime imports it by name
 * (src/runtime/cpu.ts says what it must give); generated modules stay free of the compiler.
 */

import type { Node } from './ir/graph.ts';
import { entryNamed, interpretGraph, type StateHolder } from './ir/interpret.ts';
import type { Tensor } from './ir/op.ts';
import { stringsOf } from './ir/ops/shared.ts';
import { readProgram } from './ir/read.ts';
import type { CpuExecutor, HostStateMap, HostTensor, WatchedNode } from './runtime/cpu.ts';

/** Reads every weight that an entry reads, once; f16 and bf16 checkpoints come as f32. */
export async function createExecutor(
  programText: string,
  weight: (path: string, tied?: string) => Promise<HostTensor>,
): Promise<CpuExecutor> {
  const program = readProgram(programText);
  const weights = new Map<string, Tensor>();
  // What no entry reads need not be in a checkpoint.
  const read = new Set(
    program.entries.flatMap(({ graph }) =>
      graph.nodes.flatMap(({ op, attributes }) => (op === 'weight' ? stringsOf(attributes, 'paths') : [])),
    ),
  );
  for (const { path, type, tied } of program.weights)
    if (read.has(path)) weights.set(path, fromHost({ ...(await weight(path, tied)), dtype: type.dtype }));
  return {
    async run(entryName, dims, inputs, states, watch) {
      const entry = entryNamed(program, entryName);
      const results = interpretGraph(entry.graph, {
        inputs: new Map([...inputs].map(([name, tensor]) => [name, fromHost(tensor)] as const)),
        weight(path) {
          const tensor = weights.get(path);
          if (!tensor) throw new RangeError(`the program does not name the weight \`${path}\``);
          return tensor;
        },
        dims,
        precision: 'f32',
        ...(states ? { states: holderOf(states) } : {}),
        ...(watch ? { watch: (node, results) => watch(watched(node, results)) } : {}),
      });
      return new Map([...results].map(([name, tensor]) => [name, toHost(tensor)] as const));
    },
    assign(path, tensor) {
      const known = weights.get(path);
      if (!known || known.shape.join() !== tensor.shape.join())
        throw new RangeError(`the program has no weight \`${path}\` [${tensor.shape.join(', ')}]`);
      weights.set(path, fromHost({ ...tensor, dtype: known.dtype }));
    },
  };
}

function watched(node: Node, results: readonly Tensor[]): WatchedNode {
  return {
    op: node.op,
    label: node.label,
    results,
    behind() {
      const labels = new Set<string>();
      const seen = new Set<Node>();
      for (let row: readonly Node[] = [node]; row.length > 0 && labels.size === 0; ) {
        const next = new Set(row.flatMap((one) => one.inputs.map((input) => input.node)));
        row = [...next].filter((one) => !seen.has(one));
        for (const one of row) {
          seen.add(one);
          if (one.label !== undefined) labels.add(one.label);
        }
      }
      return [...labels];
    },
  };
}

function holderOf(states: HostStateMap): StateHolder {
  return {
    read(path) {
      const tensor = states.get(path);
      if (!tensor) throw new RangeError(`the session has no state \`${path}\``);
      return { ...tensor };
    },
    write: (path, tensor) => void states.set(path, toHost(tensor)),
  };
}

/** The interpreter keeps a boolean in a byte, the border of the runtime in a u32. */
function fromHost({ dtype, shape, data }: HostTensor): Tensor {
  return { dtype, shape, data: dtype === 'bool' ? Uint8Array.from(data) : data };
}

/** Copied where the result may share memory with a weight or an input. */
function toHost({ dtype, shape, data }: Tensor): HostTensor {
  if (data instanceof Uint8Array) return { dtype, shape, data: Uint32Array.from(data) };
  return { dtype, shape, data: data instanceof Float64Array ? Float32Array.from(data) : data.slice() };
}
