/**
 * The states of a session beside the interpreter: tensors [rows, room, width] on the host.
 */
import type { EntrySpec, StateSpec } from './artifact.ts';
import { newElements } from './convert.ts';
import type { HostTensor } from './cpu.ts';
import type { BoundInputs } from './inputs.ts';
import type { StateRunner } from './model-session.ts';

export interface HostStateParts {
  readonly specs: readonly StateSpec[];
  /** Reads the states and puts those of after the call in their place. */
  run(entry: EntrySpec, inputs: BoundInputs, states: Map<string, HostTensor>): Promise<ReadonlyMap<string, HostTensor>>;
}

function zeros({ dtype, width }: StateSpec, rows: number, room: number): HostTensor {
  // f16 lies here as f32.
  const data = newElements(dtype === 'i32' ? dtype : 'f32', rows * room * width) as HostTensor['data'];
  return { dtype, shape: [rows, room, width], data };
}

export function makeHostStates(parts: HostStateParts, states = new Map<string, HostTensor>()): StateRunner {
  const { specs } = parts;
  return {
    run: (entry, inputs) => parts.run(entry, inputs, states),
    async reserve(rows, room, held) {
      for (const spec of specs) {
        const grown = zeros(spec, rows, room);
        const old = states.get(spec.path);
        held.forEach((positions, row) => {
          const first = row * (old?.shape[1] ?? 0) * spec.width;
          if (old) grown.data.set(old.data.subarray(first, first + positions * spec.width), row * room * spec.width);
        });
        states.set(spec.path, grown);
      }
    },
    clear() {
      for (const spec of specs) {
        const [rows = 0, room = 0] = states.get(spec.path)?.shape ?? [];
        states.set(spec.path, zeros(spec, rows, room));
      }
    },
    // Calls put new tensors into the map, so the tensors themselves may be shared.
    copy: async () => makeHostStates(parts, new Map(states)),
    free: () => states.clear(),
  };
}
