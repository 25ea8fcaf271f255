/**
 * A checkpoint against the weights that a model names: missing, wrongly shaped, not used. Only the header of the file is
 * read, so this costs nothing for large files.
 */
import type { Program, Weight } from '../ir/graph.ts';
import { constantValue } from '../ir/symbolic.ts';
import { type Diagnostic, diagnose } from '../support/diagnostic.ts';
import type { SourceFile, Span } from '../support/source.ts';
import { closest } from '../support/suggest.ts';

/** A tensor of the checkpoint as its header tells it. */
export interface TensorHeader {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** What the loader turns into f32, f16 or i32. */
const loadable = new Set(['F32', 'F16', 'BF16', 'F64', 'I64', 'I32', 'I16', 'I8', 'U8', 'U32', 'BOOL']);

export interface WeightReport {
  readonly diagnostics: readonly Diagnostic[];
  /** Tensors of the file that the model does not name. */
  readonly unexpected: readonly string[];
}

export function checkWeights(
  program: Program,
  headers: ReadonlyMap<string, TensorHeader>,
  file: SourceFile,
): WeightReport {
  const expected = new Map(program.weights.map((weight) => [weight.path, weight]));
  const unexpected = [...headers.keys()].filter((name) => !expected.has(name));
  const diagnostics: Diagnostic[] = [];
  for (const weight of expected.values()) {
    const header = headers.get(weight.path);
    // A weight that a library module declares has no place in the file at hand; the file's start stands for it.
    const span = weight.span ?? { file, start: 0, end: 0 };
    if (header === undefined) diagnostics.push(missing(weight, span, unexpected, headers));
    else diagnostics.push(...mismatch(weight, span, header));
  }
  return { diagnostics, unexpected };
}

function missing(
  weight: Weight,
  span: Span,
  unexpected: readonly string[],
  headers: ReadonlyMap<string, TensorHeader>,
): Diagnostic {
  const near = nearestName(weight, unexpected, headers);
  return diagnose('SORA7201', `the checkpoint has no tensor \`${weight.path}\``, span, {
    notes: [`expected shape [${staticShape(weight).join(', ')}]`],
    ...(near === undefined ? {} : { help: `did you mean \`${near}\`? name it with \`as "…"\`` }),
  });
}

/** The nearest free name; among equals in shape a name that ends alike, for checkpoints with another prefix. */
function nearestName(
  weight: Weight,
  unexpected: readonly string[],
  headers: ReadonlyMap<string, TensorHeader>,
): string | undefined {
  const shape = staticShape(weight).join();
  const alike = unexpected.filter((name) => headers.get(name)?.shape.join() === shape);
  const suffixed = alike.find((name) => name.endsWith(`.${weight.path}`) || weight.path.endsWith(`.${name}`));
  return suffixed ?? closest(weight.path, alike) ?? closest(weight.path, unexpected);
}

function mismatch(weight: Weight, span: Span, header: TensorHeader): readonly Diagnostic[] {
  const shape = staticShape(weight);
  if (shape.join() !== header.shape.join()) {
    const isTransposed = shape.length === 2 && shape[0] === header.shape[1] && shape[1] === header.shape[0];
    return [
      diagnose(
        'SORA7202',
        `\`${weight.path}\` is [${header.shape.join(', ')}] in the checkpoint, [${shape.join(', ')}] in the model`,
        span,
        isTransposed
          ? { help: 'the tensor is stored transposed' }
          : { help: 'does the config belong to this checkpoint? give it with --config config.json' },
      ),
    ];
  }
  if (!loadable.has(header.dtype)) {
    return [
      diagnose('SORA7203', `\`${weight.path}\` is ${header.dtype} in the checkpoint, which cannot be loaded`, span),
    ];
  }
  return [];
}

/** Weights have no runtime dims: lowering has seen to it. */
function staticShape(weight: Weight): readonly number[] {
  return weight.type.shape.map((dim) => constantValue(dim) ?? Number.NaN);
}
