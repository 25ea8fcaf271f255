/**
 * A checkpoint against the weights that a model names: missing, wrongly shaped, of a type that does not convert, not used.
 * Only the headers of the files are read, so this costs nothing for large ones.
 */
import type { Program, Weight } from '../ir/graph.ts';
import { slicedPaths } from '../ir/pruning.ts';
import { constantValue } from '../ir/symbolic.ts';
import { nameFinder } from '../runtime/checkpoint-names.ts';
import { cutOut } from '../runtime/weights.ts';
import { type Diagnostic, diagnose } from '../support/diagnostic.ts';
import type { SourceFile, Span } from '../support/source.ts';
import { closest } from '../support/suggest.ts';

/** A tensor of the checkpoint as its header tells it. */
export interface TensorHeader {
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** Types of the file that the loader turns into a floating-point weight, and into any other. */
const floats = new Set(['F32', 'F16', 'BF16', 'F64']);
const wholes = new Set(['I64', 'I32', 'I16', 'I8', 'U64', 'U32', 'U16', 'U8', 'BOOL']);

export interface WeightReport {
  readonly diagnostics: readonly Diagnostic[];
  /** Tensors of the file that the model does not name. */
  readonly unexpected: readonly string[];
}

export interface WeightOptions {
  /** Unexpected tensors are mistakes. */
  readonly strict: boolean;
  /** Globs of tensors that no model needs. */
  readonly ignore: readonly string[];
}

/** `*` is any text without a dot, `**` any text; `**.x` is also `x` alone. */
export function globPattern(glob: string): RegExp {
  const text = glob.replace(/\*\*\.|\*\*|\*|[^*]+/g, (part) => {
    if (part === '**.') return '(?:.*\\.)?';
    if (part === '**') return '.*';
    return part === '*' ? '[^.]*' : part.replace(/[^A-Za-z0-9_]/g, '\\$&');
  });
  return new RegExp(`^${text}$`, 's');
}

export function checkWeights(
  program: Program,
  headers: ReadonlyMap<string, TensorHeader>,
  file: SourceFile,
  options: WeightOptions = { strict: false, ignore: [] },
): WeightReport {
  const expected = new Map(program.weights.map((weight) => [weight.path, weight]));
  const nameOf = nameFinder(new Set(headers.keys()));
  const headerOf = (path: string) => headers.get(nameOf(path) ?? '');
  const sliced = slicedPaths(program.pruned);
  const ignored = options.ignore.map(globPattern);
  const used = new Set([...expected.keys()].map(nameOf));
  const unexpected = [...headers.keys()].filter(
    (name) => !used.has(name) && !ignored.some((pattern) => pattern.test(name)),
  );
  const diagnostics: Diagnostic[] = [];
  // A weight that a library module declares has no place in the file at hand; the file's start stands for it.
  const start = { file, start: 0, end: 0 };
  const free = new Set(unexpected);
  for (const weight of expected.values()) {
    const span = weight.span ?? start;
    const header = headerOf(weight.path) ?? (weight.tied === undefined ? undefined : headerOf(weight.tied));
    if (header === undefined) diagnostics.push(missing(weight, span, [...free], headers));
    else diagnostics.push(...mismatch(weight, span, header, sliced.has(weight.path)));
  }
  if (options.strict) diagnostics.push(...unexpected.map((name) => unused(name, expected, headers, start)));
  return { diagnostics: joinAlike(diagnostics), unexpected };
}

/** Names that stand in a note. */
const namesShown = 8;

/** One wrong path or size of a field is one mistake, however many tensors of however many copies it is about. */
function joinAlike(diagnostics: readonly Diagnostic[]): readonly Diagnostic[] {
  const groups = new Map<string, Diagnostic[]>();
  for (const diagnostic of diagnostics) {
    const { code, span } = diagnostic;
    const key = `${code} ${span.file.path} ${span.start}`;
    const group = groups.get(key);
    if (group) group.push(diagnostic);
    else groups.set(key, [diagnostic]);
  }
  return [...groups.values()].flatMap(([first, ...rest]) => {
    if (first === undefined || rest.length === 0) return first ?? [];
    const lines = rest.slice(0, namesShown).map((each) => `  ${each.message}`);
    const more = rest.length > namesShown ? [`  and ${rest.length - namesShown} more`] : [];
    const note = [
      `${rest.length} more ${rest.length === 1 ? 'tensor' : 'tensors'} of the same place:`,
      ...lines,
      ...more,
    ];
    return { ...first, notes: [...first.notes, note.join('\n')] };
  });
}

function unused(
  name: string,
  expected: ReadonlyMap<string, Weight>,
  headers: ReadonlyMap<string, TensorHeader>,
  span: Span,
): Diagnostic {
  const near = closest(
    name,
    [...expected.keys()].filter((path) => !headers.has(path)),
  );
  const header = headers.get(name);
  return diagnose('SORA7205', `the model does not use the tensor \`${name}\``, span, {
    notes: header === undefined ? [] : [`it is ${header.dtype} [${header.shape.join(', ')}]`],
    help:
      near === undefined ? `if no model needs it: --ignore "${name}"` : `is it \`${near}\`? name it with \`as "…"\``,
  });
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

function mismatch(weight: Weight, span: Span, header: TensorHeader, isSliced: boolean): readonly Diagnostic[] {
  const shape = staticShape(weight);
  const { path, type } = weight;
  if (shape.join() !== header.shape.join()) {
    const isTransposed = shape.length === 2 && shape[0] === header.shape[1] && shape[1] === header.shape[0];
    const message = `\`${path}\` is [${header.shape.join(', ')}] in the checkpoint, [${shape.join(', ')}] in the model`;
    const help = isTransposed
      ? 'the tensor is stored transposed'
      : isSliced
        ? cutOut
        : 'does the config belong to this checkpoint? give it with --config config.json; of a compressed one, its recipe.sora with --recipe';
    return [diagnose('SORA7202', message, span, { help })];
  }
  const isFloat = type.dtype === 'f32' || type.dtype === 'f16';
  if ((isFloat ? floats : wholes).has(header.dtype)) return [];
  const message = `\`${path}\` is ${header.dtype} in the checkpoint, which does not convert to ${type.dtype}`;
  const help =
    floats.has(header.dtype) || wholes.has(header.dtype)
      ? `declare the field with another type, or convert the checkpoint`
      : `convert the checkpoint to one of ${[...(isFloat ? floats : wholes)].join(', ')}`;
  return [diagnose('SORA7203', message, span, { help })];
}

/** Weights have no runtime dims: lowering has seen to it. */
function staticShape(weight: Weight): readonly number[] {
  return weight.type.shape.map((dim) => constantValue(dim) ?? Number.NaN);
}
