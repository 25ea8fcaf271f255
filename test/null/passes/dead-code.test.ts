import { expect, test } from 'vitest';
import { deadCode } from '../../../src/passes/dead-code.ts';
import { B, T } from '../../support/graphs.ts';
import { bodyOf, check, graphOf } from './support.ts';

test('what no result needs goes; parameters of the entry stay', () => {
  const before = graphOf((s) => {
    const x = s.argument('x', 'f32', [B, T]);
    const unused = s.argument('unused', 'f32', [T]);
    s.emit('exp', [s.emit('neg', [unused])]);
    s.parameter('w', [3]);
    return { y: s.emit('tanh', [x]) };
  });
  expect(bodyOf(check(deadCode, before, 3))).toMatchInlineSnapshot(`
    "%0 = input {name = "x"} : f32[B, T] "x"
    %1 = input {name = "unused"} : f32[T] "unused"
    %2 = tanh(%0) : f32[B, T]
    return "y" = %2"
  `);
});

test('leaves a graph alone in which everything is needed', () => {
  const before = graphOf((s) => ({ y: s.emit('tanh', [s.argument('x', 'f32', [B, T])]) }));
  expect(deadCode.run(before, { ranges: new Map() }).graph).toBe(before);
});
