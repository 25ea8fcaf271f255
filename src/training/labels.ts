/**
 * Labels of a dataset as class ids. The map is made from the training part alone and kept with the weights.
 */
import { type Dataset, dataFault, faultAt } from './datasets/dataset.ts';

export interface LabelMap {
  /** Names of the classes by their id. */
  readonly names: readonly string[];
  /** @param where for the message of SORA7043, for a label that the map does not have */
  idOf(label: string | number, where: string): number;
}

/** More classes than a softmax over logits is for. */
const maximumClasses = 1_000_000;

export function labelMap(names: readonly string[]): LabelMap {
  const ids = new Map(names.map((name, id) => [name, id]));
  return {
    names,
    idOf(label, where) {
      const id = ids.get(String(label));
      if (id !== undefined) return id;
      const some = names.slice(0, 8).map((name) => `\`${name}\``);
      const known = `${some.join(', ')}${names.length > some.length ? ' …' : ''}`;
      throw faultAt('SORA7043', where, `the label \`${label}\` is not one of the ${names.length} classes`, {
        help: `classes: ${known}`,
      });
    },
  };
}

/**
 * Reads the labels of every row. Words become classes in the order of their code units. Whole numbers from 0 on are ids already
 * (a class without rows keeps its id); others become classes in the order of the numbers.
 *
 * @errors SORA7040 without such a column, SORA7039 for a row without a label or with one that is neither word nor whole number
 */
export async function labelsOf(dataset: Dataset, column: string): Promise<LabelMap> {
  requireColumns(dataset, [column]);
  const only = new Set([column]);
  const words = new Set<string>();
  const numbers = new Set<number>();
  for (let index = 0; index < dataset.length; index++) {
    const label = (await dataset.row(index, only)).get(column);
    if (typeof label === 'string' && label !== '') words.add(label);
    else if (typeof label === 'number' && Number.isInteger(label)) numbers.add(label);
    else
      throw faultAt('SORA7039', dataset.where(index), `\`${column}\` is no label: a word or a whole number is needed`);
    if (words.size + numbers.size > maximumClasses) {
      throw dataFault('SORA7039', dataset.name, `\`${column}\` has more than ${maximumClasses} different labels`);
    }
  }
  if (words.size > 0) return labelMap([...words, ...[...numbers].map(String)].sort());
  const sorted = [...numbers].sort((a, b) => a - b);
  const greatest = sorted.at(-1) ?? 0;
  const areIds = sorted[0] === 0 && greatest < maximumClasses;
  return labelMap(areIds ? Array.from({ length: greatest + 1 }, (_, id) => String(id)) : sorted.map(String));
}

/** @errors SORA7040 that lists the columns there are */
export function requireColumns(dataset: Dataset, columns: Iterable<string>): void {
  for (const column of columns) {
    if (dataset.columns.has(column)) continue;
    const there = [...dataset.columns.keys()].map((name) => `\`${name}\``).join(', ');
    throw dataFault('SORA7040', dataset.name, `it has no column \`${column}\``, { help: `columns: ${there}` });
  }
}
