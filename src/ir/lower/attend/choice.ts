/**
 * `q_norm: if c.qk_norm { norm } else { none }`: which value a modifier has under the config.
 */
import type { Expression, RecordField } from '../../../parser/ast.ts';
import type { Context } from '../context.ts';
import { conditionValue } from '../expressions.ts';
import { lookup, type Scope } from '../scope.ts';
import { touchNames } from '../touch.ts';

/** The field with its value chosen; `none` when the modifier is off; undefined when something was reported. */
export function chosenField(context: Context, field: RecordField, scope: Scope): RecordField | 'none' | undefined {
  let { value } = field;
  for (;;) {
    if (value.kind === 'name' && value.name === 'none' && !lookup(scope, 'none')) return 'none';
    if (value.kind === 'block' && value.lets.length === 0) {
      value = value.result;
      continue;
    }
    if (value.kind !== 'if') return { ...field, value };
    const condition = conditionValue(context, value.condition, scope);
    if (condition === undefined) return undefined;
    const [taken, other]: readonly (Expression | undefined)[] = condition
      ? [value.then, value.otherwise]
      : [value.otherwise, value.then];
    if (other) touchNames(context, other, scope);
    if (taken === undefined) return 'none';
    value = taken;
  }
}
