/**
 * Everything in `sora:nn` has a doc comment with an example, members of a model, and each example compiles.
 */
import { expect, test } from 'vitest';
import { parse } from '../../../src/parser/index.ts';
import { library } from '../../../src/parser/library.generated.ts';
import { lowered } from './kit.ts';

const text = library.get('sora:nn') ?? '';
const declarations = parse({ path: 'sora:nn', text }).value.declarations.flatMap((declaration) =>
  declaration.kind === 'module' || declaration.kind === 'function'
    ? [{ name: declaration.name?.text ?? '', doc: declaration.doc ?? '' }]
    : [],
);

test('the library is there', () => {
  expect(declarations.length).toBeGreaterThan(40);
});

test.each(declarations)('$name', ({ name, doc }) => {
  const [sentence = '', example = ''] = doc.split(/```(?:sora)?/);
  expect(sentence.trim().length).toBeGreaterThan(5);
  const used = declarations.map((other) => other.name).filter((other) => new RegExp(`\\b${other}\\(`).test(example));
  expect(used).toContain(name);
  const dims = ['B in 1..8', 'T in 1..64'].filter((dim) => new RegExp(`\\b${dim[0]}\\b`).test(example));
  const head = `import { ${used.join(', ')} } from "sora:nn"\ndim ${dims.join(', ')}\n`;
  lowered(`${head}model Example {\n${example}\n}\n`);
});
