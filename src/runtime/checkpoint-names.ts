/**
 * Under which name a checkpoint has a weight of the model, where its names are not quite the model's. As in transformers:
 *
 * - files of a base model lack the prefix that a model with a head gives it (`wte.weight` for `transformer.wte.weight`), and files of
 *   a model with a head have one that the base model lacks;
 * - files made from TensorFlow's say `gamma` and `beta` for the `weight` and `bias` of a norm.
 */

function firstSegment(name: string): string {
  return name.slice(0, name.indexOf('.') + 1);
}

/** How often each first segment stands, with its dot. */
function countSegments(names: Iterable<string>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(firstSegment(name), (counts.get(firstSegment(name)) ?? 0) + 1);
  return counts;
}

/** The name in the checkpoint, given all that it has; undefined when it has none. */
export function nameFinder(names: ReadonlySet<string>): (path: string) => string | undefined {
  const segments = countSegments(names);
  /** A prefix that most tensors share. */
  const common = [...segments].find(([segment, count]) => segment !== '' && 2 * count > names.size)?.[0];
  const present = (path: string): string | undefined => {
    const older = path.replace(/\.weight$/, '.gamma').replace(/\.bias$/, '.beta');
    return [path, older].find((name) => names.has(name));
  };
  return (path) => {
    const found = present(path);
    const segment = firstSegment(path);
    if (found !== undefined || segments.has(segment)) return found;
    return present(path.slice(segment.length)) ?? (common === undefined ? undefined : present(common + path));
  };
}
