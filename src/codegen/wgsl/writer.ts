/**
 * Writes one kernel: nested blocks of statements, names, bindings, runtime dims and helpers.
 *
 * Statements go to the innermost block. Index arithmetic that does not depend on a block's variables is bound outside of
 * it, so loops hold only what changes in them. A name given to a value is known in its block and the blocks inside.
 *
 * Not here: what a value is (values.ts), which kernel to write (map.ts, row.ts, contraction.ts, attention.ts).
 */
import { constantValue, type Dim, symbolDim } from '../../ir/symbolic.ts';
import type { EIGHT_LANES, IMMEDIATE_DECLARATION } from '../../runtime/artifact.ts';
import { helperSource } from './helpers.ts';
import { constantIndex, type Index, type IndexTerm, variableIndex } from './index-algebra.ts';
import { dimName } from './names.ts';
import type { Lanes } from './scalars.ts';

/** One storage buffer of a kernel. */
export interface Binding {
  readonly key: string;
  readonly name: string;
  /** Type of an array element in memory: `f32`, `u32`, `vec4<f32>`. */
  readonly element: string;
  /** Read; written, and perhaps read; words of a packed weight, which are read by `readWords`. */
  readonly access: 'r' | 'w' | 'p';
  /** An array element holds four neighbours. */
  readonly vector: boolean;
}

export interface KernelText {
  readonly code: string;
  readonly bindings: readonly Binding[];
  readonly params: readonly Dim[];
  /** What `code` was printed from, for kernels that are put together (join.ts). */
  readonly source: KernelSource;
}

/** A runtime size that a kernel takes. */
export interface Field {
  readonly name: string;
  readonly dim: Dim;
}

/** A variable of a workgroup. */
export interface WorkgroupVariable {
  readonly name: string;
  readonly type: string;
}

export interface KernelSource {
  /** Lines of the comment at the head. */
  readonly header: readonly string[];
  readonly fields: readonly Field[];
  readonly variables: readonly WorkgroupVariable[];
  readonly helpers: ReadonlySet<string>;
  /** Statements that know `group`, its number, and `lane`. */
  readonly body: readonly string[];
  readonly workgroup: number;
}

/** The text of a kernel whose bindings are in this order. */
export function printKernel(source: KernelSource, bindings: readonly Binding[]): KernelText {
  const { header, fields, variables, helpers, body, workgroup } = source;
  const lines = [
    ...header.map((line) => (line === '' ? '//' : `// ${line}`)),
    '',
    ...(fields.length === 0
      ? []
      : ['struct Dims {', ...fields.map((field) => `  ${field.name}: u32,`), '}', immediateDeclaration, '']),
    ...bindings.flatMap(({ access, name, element }, at) => {
      const mode = access === 'w' ? 'read_write' : 'read';
      const declared = `@group(0) @binding(${at}) var<storage, ${mode}> ${name}: array<${element}>;`;
      // The runtime may put a texture in the place of these two lines (src/runtime/word-textures.ts).
      return access === 'p'
        ? [declared, `fn ${readerOf(name)}(at: u32) -> ${element} { return ${name}[at]; }`]
        : [declared];
    }),
    ...variables.map(({ name, type }) => `var<workgroup> ${name}: ${type};`),
    '',
    ...helperSource(helpers),
    `@compute @workgroup_size(${workgroup})`,
    `fn main(${builtins.join(', ')}) {`,
    '  let group = workgroup.x + workgroup.y * workgroups.x;',
    ...body.map((line) => `  ${line}`),
    '}',
    '',
  ];
  return { code: lines.join('\n'), bindings, params: fields.map((field) => field.dim), source };
}

/** Orders bindings: what is read, then what is written. */
export function readFirst(a: Binding, b: Binding): number {
  return Number(a.access === 'w') - Number(b.access === 'w');
}

/** The function that reads a vector of a binding with access `p`. */
export function readerOf(name: string): string {
  return `read_${name}`;
}

/** A vector of words of a packed weight. */
export function readWords(name: string, at: string): string {
  return `${readerOf(name)}(${at})`;
}

interface Block {
  readonly header: string | undefined;
  readonly lines: string[];
  /** Names of indices, quotients and remainders, by their keys. */
  readonly known: Map<string, string>;
  readonly values: Map<string, KnownValue>;
}

interface KnownValue {
  readonly text: string;
  readonly lanes: Lanes;
}

/** The one line that declares the runtime dims; the runtime may replace it by a uniform (src/runtime/artifact.ts). */
const immediateDeclaration: typeof IMMEDIATE_DECLARATION = 'var<immediate> dims: Dims;';

/** Behind it stands what the runtime may put in the place of an expression. */
const eightLanes: typeof EIGHT_LANES = '// eight lanes: ';

/** Where `main` reads its place in the grid. */
const builtins = [
  '@builtin(workgroup_id) workgroup: vec3u',
  '@builtin(num_workgroups) workgroups: vec3u',
  '@builtin(local_invocation_index) lane: u32',
];

/** How many u32 `dims` may hold: the immediates that every device has. */
export const maxParams = 16;

export class KernelWriter {
  /** Loads written so far, counted in scalars and vectors alike: schedules compare ways to read with it. */
  loads = 0;
  readonly #blocks: Block[] = [{ header: undefined, lines: [], known: new Map(), values: new Map() }];
  readonly #depths = new Map<string, number>();
  readonly #names = new Map<string, number>();
  readonly #bindings: Binding[] = [];
  readonly #params = new Map<string, { name: string; dim: Dim }>();
  readonly #helpers = new Set<string>();
  readonly #workgroupVariables: WorkgroupVariable[] = [];

  readonly #isPlain: boolean;

  /**
   * @param isPlain whether sizes are computed in the kernel from the dims themselves: for kernels that need more polynomials
   *   than can be passed
   */
  constructor(isPlain = false) {
    this.#isPlain = isPlain;
  }

  /** Innermost block. */
  get depth(): number {
    return this.#blocks.length - 1;
  }

  line(text: string): void {
    this.#block(this.depth).lines.push(text);
  }

  open(header: string): void {
    this.#blocks.push({ header, lines: [], known: new Map(), values: new Map() });
  }

  close(): void {
    const block = this.#blocks.pop();
    if (!block || this.#blocks.length === 0) throw new Error('no open block');
    this.line(`${block.header} {`);
    for (const line of block.lines) this.line(`  ${line}`);
    this.line('}');
  }

  /** A name that nothing else in the kernel has: `sum`, `sum_2`, … */
  fresh(name: string): string {
    let count = (this.#names.get(name) ?? 0) + 1;
    // Another name may look like one with a number behind it.
    while (count > 1 && this.#names.has(`${name}_${count}`)) count++;
    this.#names.set(name, count);
    const fresh = count === 1 ? name : `${name}_${count}`;
    if (count > 1) this.#names.set(fresh, 1);
    return fresh;
  }

  /** Keeps names that a kernel writes literally from being given to anything else, such as a buffer. */
  reserve(names: readonly string[]): void {
    for (const name of names) this.fresh(name);
  }

  /** Binds an expression in the innermost block. */
  let(name: string, expression: string): string {
    const bound = this.fresh(name);
    this.line(`let ${bound} = ${expression};`);
    return bound;
  }

  /**
   * Binds an expression that another lane of eight has as `own`: the runtime may read it from there (src/runtime/eight-lanes.ts).
   *
   * @param lane which of the lanes
   */
  letOfLane(name: string, expression: string, own: string, lane: number): string {
    const bound = this.fresh(name);
    this.line(`let ${bound} = ${expression}; ${eightLanes}subgroupShuffle(${own}, ${lane}u)`);
    return bound;
  }

  /** An index variable of the innermost block, in `[0, extent)`; declares it when an expression is given. */
  variable(name: string, extent: Dim | undefined, expression?: string): Index {
    if (extent !== undefined && constantValue(extent) === 1) return constantIndex(0);
    const bound = expression === undefined ? name : this.let(name, expression);
    this.#depths.set(bound, this.depth);
    return variableIndex(bound, extent);
  }

  /** Remembers the text of a value in the innermost block. */
  remember(key: string, value: KnownValue): void {
    this.#block(this.depth).values.set(key, value);
  }

  known(key: string): KnownValue | undefined {
    for (let depth = this.depth; depth >= 0; depth--) {
      const value = this.#block(depth).values.get(key);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** A polynomial of runtime dims: a literal or a field of `dims`. */
  dim(dim: Dim): string {
    const constant = constantValue(dim);
    if (constant !== undefined) return `${constant}u`;
    if (this.#isPlain && dim.key !== dim.terms[0]?.factors.join('*')) return this.#computed(dim);
    const { key } = rekey(dim);
    const known = this.#params.get(key);
    if (known) return `dims.${known.name}`;
    const plain = dimName(dim);
    const taken = new Set([...this.#params.values()].map((param) => param.name));
    // `3*T` is called `T_3`, and so might a second `T` be.
    let name = plain;
    for (let count = this.#params.size; taken.has(name); count++) name = `${plain}_${count}`;
    this.#params.set(key, { name, dim });
    return `dims.${name}`;
  }

  /** A polynomial written out; u32 wraps around, so what is subtracted may come first. */
  #computed(dim: Dim): string {
    const terms = dim.terms.map(({ coefficient, factors }) => {
      const size = Math.abs(coefficient);
      const names = factors.map((name) => this.dim(symbolDim(name)));
      const words = size === 1 && names.length > 0 ? names : [...names, `${size}u`];
      return { text: words.join(' * '), negative: coefficient < 0 };
    });
    return `(${joinParts(terms)})`;
  }

  /**
   * The end of a loop that drivers shall keep a loop: lavapipe unrolls up to 32 steps, and a walk over a row with several
   * results then takes seconds to compile. The third size of the grid is 1, which no compiler knows.
   */
  unrolledNever(count: Dim): string {
    const steps = constantValue(count);
    return steps !== undefined && steps > 1 && steps <= 32 ? `${steps}u * workgroups.z` : this.dim(count);
  }

  /** Text of an index, safe as an operand of `+` and inside brackets. */
  index(index: Index): string {
    return this.#indexAt(index, this.depth);
  }

  /** The same, safe as an operand of any operator. */
  operand(index: Index): string {
    const text = this.index(index);
    return /^[\w.]+$/.test(text) ? text : `(${text})`;
  }

  bind(binding: Binding): string {
    const known = this.#bindings.find((other) => other.key === binding.key);
    if (known) return known.name;
    const name = this.fresh(binding.name);
    if (binding.access === 'p') this.reserve([readerOf(name)]);
    this.#bindings.push({ ...binding, name });
    return name;
  }

  use(helpers: readonly string[]): void {
    for (const helper of helpers) this.#helpers.add(helper);
  }

  /** `var<workgroup> name: type;` */
  workgroupVariable(name: string, type: string): string {
    const bound = this.fresh(name);
    this.#workgroupVariables.push({ name: bound, type });
    return bound;
  }

  finish(header: readonly string[], workgroupSize: number): KernelText {
    // Inputs first: a kernel's text should not depend on the order in which its body happened to touch them.
    const bindings = [...this.#bindings].sort(readFirst);
    const source: KernelSource = {
      header,
      fields: [...this.#params.values()],
      variables: this.#workgroupVariables,
      helpers: this.#helpers,
      body: this.#block(0).lines,
      workgroup: workgroupSize,
    };
    return printKernel(source, bindings);
  }

  #block(depth: number): Block {
    const block = this.#blocks[depth];
    if (!block) throw new Error(`no block at depth ${depth}`);
    return block;
  }

  #depthOf(index: Index): number {
    return index.terms.reduce((depth, term) => Math.max(depth, this.#depthOfTerm(term)), 0);
  }

  #depthOfTerm({ atom }: IndexTerm): number {
    return atom.kind === 'variable' ? (this.#depths.get(atom.name) ?? 0) : this.#depthOf(atom.of);
  }

  /** Terms of outer blocks are bound there and come in by name; the block's own terms follow. */
  #indexAt(index: Index, depth: number): string {
    const own = index.terms.filter((term) => this.#depthOfTerm(term) === depth);
    const outerTerms = index.terms.filter((term) => !own.includes(term));
    if (own.length === 0 && outerTerms.length === 0) return this.dim(index.constant);
    if (own.length === 0) {
      const whole = { ...index };
      return this.#bindAt(whole, this.#depthOf(whole));
    }
    const parts = own.map((term) => this.#term(term, depth));
    const outer: Index = { terms: outerTerms, constant: index.constant, key: `outer of ${index.key} at ${depth}` };
    if (outerTerms.length > 0) {
      const rebuilt = { ...outer, key: keyOf(outerTerms, index.constant) };
      parts.unshift({ text: this.#bindAt(rebuilt, this.#depthOf(rebuilt)), negative: false });
    } else if (index.constant.terms.length > 0) parts.push(this.#constant(index.constant));
    return joinParts(parts);
  }

  #bindAt(index: Index, depth: number): string {
    const block = this.#block(depth);
    const key = `index ${index.key}`;
    const bound = block.known.get(key);
    if (bound !== undefined) return bound;
    const text = this.#indexAt(index, depth);
    if (/^[\w.]+$/.test(text)) return text;
    const name = this.fresh('at');
    block.lines.push(`let ${name} = ${text};`);
    block.known.set(key, name);
    return name;
  }

  #term({ atom, coefficient }: IndexTerm, depth: number): { text: string; negative: boolean } {
    const name = atom.kind === 'variable' ? atom.name : this.#divided(atom, depth);
    const negative = coefficient.terms.every((term) => term.coefficient < 0);
    const size = negative
      ? { ...coefficient, terms: coefficient.terms.map((term) => ({ ...term, coefficient: -term.coefficient })) }
      : coefficient;
    const factor = this.dim(negative ? rekey(size) : size);
    return { text: factor === '1u' ? name : `${name} * ${factor}`, negative };
  }

  #constant(constant: Dim): { text: string; negative: boolean } {
    const negative = constant.terms.every((term) => term.coefficient < 0);
    if (!negative) return { text: this.dim(constant), negative };
    const terms = constant.terms.map((term) => ({ ...term, coefficient: -term.coefficient }));
    return { text: this.dim(rekey({ terms, key: '' })), negative };
  }

  #divided(atom: Extract<IndexTerm['atom'], { of: Index }>, depth: number): string {
    const block = this.#block(depth);
    const key = `atom ${atom.key}`;
    const known = block.known.get(key);
    if (known !== undefined) return known;
    const inner = this.#indexAt(atom.of, depth);
    const operand = /^[\w.]+$/.test(inner) ? inner : `(${inner})`;
    const name = this.fresh(atom.kind === 'quotient' ? 'q' : 'r');
    block.lines.push(`let ${name} = ${operand} ${atom.kind === 'quotient' ? '/' : '%'} ${this.dim(atom.by)};`);
    block.known.set(key, name);
    return name;
  }
}

function rekey(dim: Dim): Dim {
  return { terms: dim.terms, key: dim.terms.map((term) => [term.coefficient, ...term.factors].join('*')).join(' + ') };
}

function keyOf(terms: readonly IndexTerm[], constant: Dim): string {
  return [...terms.map((term) => `(${term.coefficient.key})*${term.atom.key}`), constant.key].join(' + ');
}

function joinParts(parts: readonly { text: string; negative: boolean }[]): string {
  const ordered = [...parts].sort((a, b) => Number(a.negative) - Number(b.negative));
  return ordered
    .map((part, at) =>
      at === 0 ? `${part.negative ? '0u - ' : ''}${part.text}` : `${part.negative ? '-' : '+'} ${part.text}`,
    )
    .join(' ');
}
