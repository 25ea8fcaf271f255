/**
 * The selection skeleton: the places of the `k` greatest elements of a row, in order. A workgroup takes a row.
 *
 *   1. Each lane finds the greatest key of its share of the row; the least of these is a bound: there are as many elements
 *      at or above it as lanes, and never fewer than `k` lanes. Few elements pass it; they are listed in workgroup memory, so that what
 *      follows reads the row no more. Where they are too many for the list, it reads the row again.
 *   2. Radix select: from the highest digit down, a histogram of the digit among the elements that share the digits chosen so
 *      far says which digit the k-th greatest element has. The digits are those of the key, then those of the place counted
 *      from the end, so that the lower place comes first among equals and no two elements are equal. It ends when a digit's
 *      elements are all wanted.
 *   3. The winners are collected in any order and written where their rank says.
 *
 * Keys are u32 in the order of the numbers (src/ir/ops/order.ts). Atomics are on integers only, so a row has one answer.
 * Source of the idea of radix selection: Alabi et al. 2012, "Fast k-selection algorithms for graphics processing units".
 */
import type { Node } from '../../ir/graph.ts';
import { numberOf } from '../../ir/ops/shared.ts';
import { constantDim, type Dim, divideDim } from '../../ir/symbolic.ts';
import { isFloat } from '../../ir/types.ts';
import { greatest } from '../plan/sizes.ts';
import { addIndices, constantIndex, type Index, scaleIndex } from './index-algebra.ts';
import {
  type Draft,
  elements,
  type Kernel,
  type KernelRequest,
  regionOf,
  type Written,
  writeKernel,
} from './kernel.ts';
import { operandOf } from './regions.ts';
import { anchorOf, finisher, type Target } from './results.ts';
import { wgslType } from './scalars.ts';
import { type Expression, FOURTH, fourth, type IndexVector } from './values.ts';

const digitBits = 8;
const digits = 2 ** digitBits;
/** Words of the kernel that no buffer may take. */
const ownNames = [
  ...['greatest_key', 'bound', 'key_mask', 'key_bits', 'place_mask', 'place_bits', 'wanted', 'pass_number', 'by_place'],
  ...['shift', 'digit', 'mask', 'chosen', 'left', 'digit_group', 'lowest', 'found', 'count', 'sum', 'd', 'j'],
  ...['own_key', 'own_place', 'before', 'listed', 'c'],
];
/** The histogram is scanned in groups of so many digits. */
const scanned = 16;
const keyPasses = 32 / digitBits;
/** Elements of the list: 8 KiB of the 16 that every device has for a workgroup. */
const capacity = 1024;

export function selectionKernels(request: KernelRequest): readonly Kernel[] {
  const { anchor, targets } = anchorOf(regionOf(request.node), 'selection');
  return [writeKernel(request, (draft) => writeSelection(draft, anchor, targets))];
}

interface Parts {
  readonly draft: Draft;
  readonly node: Node;
  readonly outer: IndexVector;
  readonly width: Dim;
  readonly k: number;
  readonly lanes: number;
  /** A quarter of the width, where rows are read by four. */
  readonly quarter: Dim | undefined;
  /** Digits that tell the places of a row apart. */
  readonly placePasses: number;
}

function writeSelection(draft: Draft, node: Node, targets: readonly Target[]): Written {
  const { writer, walker, request } = draft;
  const { shape } = operandOf(node, 0).type;
  const k = numberOf(node.attributes, 'k');
  const width = shape.at(-1) ?? constantDim(1);
  const outerShape = shape.slice(0, -1);
  const rows = elements(outerShape);
  const lanes = k <= 64 ? 64 : 256;
  const placePasses = Math.ceil(Math.log2(Math.max(2, greatest(width, request.ranges))) / digitBits);
  for (const name of ownNames) writer.fresh(name);
  const row = writer.variable('row', rows, 'group');
  const parts: Parts = {
    draft,
    node,
    outer: walker.algebra.delinearize(row, outerShape),
    width,
    k,
    lanes,
    quarter: divideDim(width, constantDim(4)),
    placePasses,
  };
  const finish = finisher(draft, node, targets);
  writer.open(`if (group < ${writer.dim(rows)})`);
  writeThreshold(parts);
  const winners = writeWinners(parts);
  writer.open(`if (lane < ${k}u)`);
  const [rank, place] = writeRank(parts, winners);
  const text = writer.let('place', `i32(${lastPlace(parts)} - ${place})`);
  finish([...parts.outer, rank], { text, lanes: 1, dtype: 'i32' });
  writer.close();
  writer.close();
  return {
    workgroup: lanes,
    groups: { factors: [{ size: rows, divisor: 1 }] },
    note: `selection: ${lanes} lanes per row`,
  };
}

/** Places count down from here, so that of equal keys the lower index is the greater one. */
function lastPlace({ placePasses }: Parts): string {
  return `${2 ** (digitBits * placePasses) - 1}u`;
}

/** A loop over the row, each lane its share; by four where the row lies so. */
function overRow(parts: Parts, write: (keys: Expression, element: Index) => void): void {
  const { draft, node, outer, width, lanes, quarter } = parts;
  const { writer, walker } = draft;
  const count = quarter ?? width;
  const name = writer.fresh('i');
  writer.open(`for (var ${name} = lane; ${name} < ${writer.dim(count)}; ${name} += ${lanes}u)`);
  const at = writer.variable(name, count);
  const element = quarter ? addIndices(scaleIndex(at, 4), fourth) : at;
  const value = walker.at(operandOf(node, 0), [...outer, element]);
  write(walker.named(walker.as(orderKey(draft, value), quarter ? 4 : 1), 'key'), element);
  writer.close();
}

/**
 * The same for elements whose key is at least `bound`, which are few: one at a time, so that the kernel stays short.
 */
function overCandidates(parts: Parts, bound: string, write: (key: string, place: string) => void): void {
  const { writer, walker } = parts.draft;
  overRow(parts, (keys, element) => {
    if (keys.lanes === 1) {
      writer.open(`if (${keys.text} >= ${bound})`);
      write(keys.text, writer.let('place', `${lastPlace(parts)} - ${writer.operand(element)}`));
      writer.close();
      return;
    }
    const { text } = keys;
    const hits = writer.let('hits', `select(vec4u(0u), vec4u(1u, 2u, 4u, 8u), ${text} >= vec4u(${bound}))`);
    const left = writer.fresh('candidates');
    writer.line(`var ${left} = ${hits}.x | ${hits}.y | ${hits}.z | ${hits}.w;`);
    writer.open(`while (${left} != 0u)`);
    const n = writer.let('n', `firstTrailingBit(${left})`);
    writer.line(`${left} &= ${left} - 1u;`);
    const pair = (first: string, second: string) => `select(${text}.${first}, ${text}.${second}, (${n} & 1u) != 0u)`;
    const key = writer.let('candidate', `select(${pair('x', 'y')}, ${pair('z', 'w')}, ${n} > 1u)`);
    const first = walker.algebra.substitute(element, FOURTH, constantIndex(0));
    write(key, writer.let('place', `${lastPlace(parts)} - (${writer.index(first)} + ${n})`));
    writer.close();
  });
}

/** The elements at or above the first bound, as far as there is room. */
function writeList(parts: Parts): void {
  const { writer } = parts.draft;
  const keys = writer.workgroupVariable('listed_keys', `array<u32, ${capacity}>`);
  const places = writer.workgroupVariable('listed_places', `array<u32, ${capacity}>`);
  writer.workgroupVariable('listed_count', 'atomic<u32>');
  overCandidates(parts, 'bound', (key, place) => {
    const slot = writer.let('slot', 'atomicAdd(&listed_count, 1u)');
    writer.line(`if (${slot} < ${capacity}u) { ${keys}[${slot}] = ${key}; ${places}[${slot}] = ${place}; }`);
  });
  writer.line('workgroupBarrier();');
  writer.line('let listed = atomicLoad(&listed_count);');
}

/** The same as `overCandidates`, of the list where it holds all. */
function overListed(parts: Parts, bound: string, write: (key: string, place: string) => void): void {
  const { draft, lanes } = parts;
  const { writer } = draft;
  writer.open(`if (listed <= ${capacity}u)`);
  writer.open(`for (var c = lane; c < listed; c += ${lanes}u)`);
  const key = writer.let('candidate', 'listed_keys[c]');
  writer.open(`if (${key} >= ${bound})`);
  write(key, writer.let('place', 'listed_places[c]'));
  writer.close();
  writer.close();
  writer.close();
  writer.open('else');
  overCandidates(parts, bound, write);
  writer.close();
}

/** A u32 in the order of the elements. */
function orderKey({ writer }: Draft, { text, lanes, dtype }: Expression): Expression {
  const type = wgslType('u32', lanes);
  if (dtype === 'u32') return { text, lanes, dtype };
  if (!isFloat(dtype)) return { text: `(bitcast<${type}>(${text}) ^ ${type}(2147483648u))`, lanes, dtype: 'u32' };
  const helper = `sora_order_key${lanes === 4 ? '4' : ''}`;
  writer.use([helper]);
  return { text: `${helper}(${text})`, lanes, dtype: 'u32' };
}

/** Ends with `key_bits` and `place_bits`: winners are the elements at or above them. */
function writeThreshold(parts: Parts): void {
  const { k, lanes, placePasses } = parts;
  const { writer } = parts.draft;
  writer.workgroupVariable('bound_below', 'atomic<u32>');
  writer.workgroupVariable('histogram', `array<atomic<u32>, ${digits}>`);
  writer.workgroupVariable('groups_of_digits', `array<u32, ${digits / scanned}>`);
  writer.workgroupVariable('choice', 'vec3u');

  writer.line('var greatest_key = 0u;');
  overRow(parts, ({ text, lanes: width }) => {
    const own = width === 4 ? `max(max(${text}.x, ${text}.y), max(${text}.z, ${text}.w))` : text;
    writer.line(`greatest_key = max(greatest_key, ${own});`);
  });
  writer.line('atomicMax(&bound_below, ~greatest_key);');
  writer.line('workgroupBarrier();');
  writer.line('let bound = ~atomicLoad(&bound_below);');
  writeList(parts);

  for (const name of ['key_mask', 'key_bits', 'place_mask', 'place_bits']) writer.line(`var ${name} = 0u;`);
  writer.line(`var wanted = ${k}u;`);
  const passes = keyPasses + placePasses;
  writer.open(`for (var pass_number = 0u; pass_number < ${passes}u; pass_number++)`);
  writer.line(`for (var d = lane; d < ${digits}u; d += ${lanes}u) { atomicStore(&histogram[d], 0u); }`);
  writer.line('workgroupBarrier();');
  writer.line(`let by_place = pass_number >= ${keyPasses}u;`);
  const last = (count: number) => `${digitBits * (count - 1)}u - ${digitBits}u * pass_number`;
  writer.line(`let shift = select(${last(keyPasses)}, ${last(passes)}, by_place);`);
  overListed(parts, 'bound', (key, place) => {
    writer.open(`if ((${key} & key_mask) == key_bits && (${place} & place_mask) == place_bits)`);
    const at = `(select(${key}, ${place}, by_place) >> shift) & ${digits - 1}u`;
    writer.line(`atomicAdd(&histogram[${at}], 1u);`);
    writer.close();
  });
  writer.line('workgroupBarrier();');
  writeChoice(parts);
  writer.line('let chosen = workgroupUniformLoad(&choice);');
  writer.line(`let mask = ${digits - 1}u << shift;`);
  writer.line('let digit = chosen.x << shift;');
  writer.open('if (by_place)');
  writer.line('place_mask |= mask;');
  writer.line('place_bits |= digit;');
  writer.close();
  writer.open('else');
  writer.line('key_mask |= mask;');
  writer.line('key_bits |= digit;');
  writer.close();
  writer.line('wanted = chosen.y;');
  writer.line('if (chosen.z != 0u) { break; }');
  writer.close();
  writer.line('key_bits = max(key_bits, bound);');
}

/** The digit of the `wanted`-th element from above, how many of its elements are wanted, and whether these are all. */
function writeChoice({ draft: { writer } }: Parts): void {
  const first = `lane * ${scanned}u`;
  writer.open(`if (lane < ${digits / scanned}u)`);
  writer.line('var sum = 0u;');
  writer.line(`for (var d = 0u; d < ${scanned}u; d++) { sum += atomicLoad(&histogram[${first} + d]); }`);
  writer.line('groups_of_digits[lane] = sum;');
  writer.close();
  writer.line('workgroupBarrier();');
  writer.open('if (lane == 0u)');
  writer.line('var left = wanted;');
  writer.line(`var digit_group = ${digits / scanned - 1}u;`);
  writer.open('while (digit_group > 0u && groups_of_digits[digit_group] < left)');
  writer.line('left -= groups_of_digits[digit_group];');
  writer.line('digit_group--;');
  writer.close();
  writer.line(`let lowest = digit_group * ${scanned}u;`);
  writer.line(`var found = lowest + ${scanned - 1}u;`);
  writer.line('var count = atomicLoad(&histogram[found]);');
  writer.open('while (found > lowest && count < left)');
  writer.line('left -= count;');
  writer.line('found--;');
  writer.line('count = atomicLoad(&histogram[found]);');
  writer.close();
  writer.line('choice = vec3u(found, left, select(0u, 1u, count == left));');
  writer.close();
}

interface Winners {
  readonly keys: string;
  readonly places: string;
}

function writeWinners(parts: Parts): Winners {
  const { k } = parts;
  const { writer } = parts.draft;
  const keys = writer.workgroupVariable('winner_keys', `array<u32, ${k}>`);
  const places = writer.workgroupVariable('winner_places', `array<u32, ${k}>`);
  writer.workgroupVariable('winners', 'atomic<u32>');
  overListed(parts, 'key_bits', (key, place) => {
    writer.open(`if (${key} > key_bits || ${place} >= place_bits)`);
    const slot = writer.let('slot', 'atomicAdd(&winners, 1u)');
    writer.line(`if (${slot} < ${k}u) { ${keys}[${slot}] = ${key}; ${places}[${slot}] = ${place}; }`);
    writer.close();
  });
  writer.line('workgroupBarrier();');
  return { keys, places };
}

/** How many winners stand before the lane's own, and the own one's place. */
function writeRank({ draft: { writer }, k }: Parts, { keys, places }: Winners): readonly [Index, string] {
  writer.line(`let own_key = ${keys}[lane];`);
  writer.line(`let own_place = ${places}[lane];`);
  writer.line('var before = 0u;');
  writer.open(`for (var j = 0u; j < ${k}u; j++)`);
  const isBefore = `${keys}[j] > own_key || (${keys}[j] == own_key && ${places}[j] > own_place)`;
  writer.line(`before += select(0u, 1u, ${isBefore});`);
  writer.close();
  return [writer.variable('rank', constantDim(k), 'before'), 'own_place'];
}
