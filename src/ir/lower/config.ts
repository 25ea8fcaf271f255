/**
 * Binding a `config` block: values of a Hugging Face `config.json` by key, defaults for the rest.
 *
 * Keys are tried in order; `null` counts as absent, as Hugging Face writes it for "not set". A value of the wrong JSON
 * type is a mistake, never converted. Defaults may use fields that stand before them (`head_dim: int = hidden / heads`).
 * Configs are compared by their fields, as TypeScript compares interfaces: a model with defaults of its own declares a
 * config with the same fields and passes it on.
 */
import type { ConfigDeclaration, ConfigField } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import { type Binding, type ConfigBinding, describe, intBinding, numberOf, poison } from './binding.ts';
import { type Context, report } from './context.ts';
import { evaluate } from './expressions.ts';
import { childScope, type Scope } from './scope.ts';

type Json = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a dotted key; the whole key is tried first. A number goes into a list. Only own properties count. */
function valueAt(json: Json, key: string): unknown {
  if (Object.hasOwn(json, key)) return json[key];
  let at: unknown = json;
  for (const part of key.split('.')) {
    if (Array.isArray(at)) at = /^\d+$/.test(part) ? at[Number(part)] : undefined;
    else if (isObject(at) && Object.hasOwn(at, part)) at = at[part];
    else return undefined;
  }
  return at;
}

interface Found {
  readonly value: unknown;
  readonly key: string;
  readonly span: Span;
}

function findValue(json: Json, field: ConfigField): Found | undefined {
  for (const source of field.from) {
    const { text: key, span } = source.key;
    const value = valueAt(json, key);
    if (value === undefined || value === null) continue;
    if (source.kind === 'key') return { value, key, span };
    const count = Array.isArray(value) ? value.length : isObject(value) ? Object.keys(value).length : undefined;
    return { value: count ?? value, key: count === undefined ? key : `count of ${key}`, span };
  }
  return undefined;
}

/** What JSON calls it, for messages; long values are cut. */
function jsonText(value: unknown): string {
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 40 ? `${text.slice(0, 37)}…` : text;
}

function fromJson(context: Context, field: ConfigField, found: Found): Binding {
  const { value, key, span } = found;
  const refuse = (why: string): Binding => {
    report(context, 'SORA2202', `\`${key}\` of the config is ${jsonText(value)}, ${why}`, span, {
      labels: [{ span: field.typeSpan, text: `\`${field.name.text}\` is declared \`${field.type}\`` }],
    });
    return poison;
  };
  switch (field.type) {
    case 'int':
      if (typeof value !== 'number') return refuse('not an integer');
      return Number.isSafeInteger(value) ? intBinding(value) : refuse('not an integer that is exact (up to 2^53)');
    case 'float':
      if (typeof value !== 'number') return refuse('not a number');
      return Number.isFinite(value) ? { kind: 'float', value } : refuse('not a finite number');
    case 'bool':
      return typeof value === 'boolean' ? { kind: 'bool', value } : refuse('not true or false');
    case 'string':
      return typeof value === 'string' ? { kind: 'string', value } : refuse('not a string');
  }
}

/** Fields that wait for a config file, when there is none. */
const fieldsShown = 5;

/** No config file was given and several fields need one: that is one mistake. */
function reportNoConfig(context: Context, declaration: ConfigDeclaration, without: readonly ConfigField[]): void {
  const [first, ...others] = without;
  if (first === undefined) return;
  const labels = others.slice(0, fieldsShown).map(({ name }) => ({ span: name.span, text: 'nor has this one' }));
  const more = others.length - labels.length;
  report(
    context,
    'SORA2201',
    `\`${first.name.text}\` and ${others.length} more of \`${declaration.name.text}\` have no value: no config file is given`,
    first.name.span,
    {
      labels,
      notes: more > 0 ? [`and ${more} more`] : [],
      help: 'give the `config.json` of the checkpoint (`--config`), or each field a default (`= …`)',
    },
  );
}

function fromDefault(context: Context, field: ConfigField, scope: Scope): Binding {
  if (field.initial === undefined) {
    const keys = field.from.map((source) => `"${source.key.text}"`).join(' or ');
    const message =
      context.json === undefined || keys === ''
        ? `\`${field.name.text}\` has no value`
        : `\`${field.name.text}\` has no value: the config has no ${keys}`;
    report(context, 'SORA2201', message, field.name.span, {
      labels: field.from.map((source) => ({ span: source.key.span, text: 'no config gives this key' })),
      help: keys === '' ? 'give it a default: `= …`' : 'give it a default (`= …`) or a config file that has the key',
    });
    return poison;
  }
  const binding = evaluate(context, field.initial, scope);
  if (binding.kind === 'poison') return poison;
  if (binding.kind === field.type) return binding.kind === 'int' ? { ...binding, literal: false } : binding;
  const number = numberOf(binding);
  if (field.type === 'float' && number !== undefined) return { kind: 'float', value: number };
  report(
    context,
    'SORA2202',
    `\`${field.name.text}\` is declared \`${field.type}\`, its default is ${describe(binding)}`,
    field.initial.span,
    {
      labels: [{ span: field.typeSpan, text: 'declared here' }],
    },
  );
  return poison;
}

function bindFields(context: Context, declaration: ConfigDeclaration, fileScope: Scope): ReadonlyMap<string, Binding> {
  const values = new Map<string, Binding>();
  const scope = childScope(fileScope);
  const without = declaration.fields.filter((field) => field.initial === undefined && field.from.length > 0);
  const isWithoutConfig = context.json === undefined && without.length > 1;
  if (isWithoutConfig) reportNoConfig(context, declaration, without);
  for (const field of declaration.fields) {
    if (values.has(field.name.text)) continue;
    const found = context.json === undefined ? undefined : findValue(context.json, field);
    if (found) context.given.add(field);
    const isReported = isWithoutConfig && without.includes(field);
    const absent = (): Binding => (isReported ? poison : fromDefault(context, field, scope));
    const binding = found ? fromJson(context, field, found) : absent();
    values.set(field.name.text, binding);
    scope.names.set(field.name.text, { binding, span: field.name.span, declaration: field });
  }
  return values;
}

/** The config with its values bound at the first use: an imported config that nothing reads needs no values. */
export function bindConfig(context: Context, declaration: ConfigDeclaration, fileScope: Scope): ConfigBinding {
  let bound: ReadonlyMap<string, Binding> | undefined;
  return {
    kind: 'config',
    declaration,
    get values() {
      bound ??= bindFields(context, declaration, fileScope);
      return bound;
    },
  };
}

/** The first field that `wanted` has and `given` has not with the same type: configs fit by their fields. */
export function missingField(given: ConfigDeclaration, wanted: ConfigDeclaration): ConfigField | undefined {
  if (given === wanted) return undefined;
  return wanted.fields.find(
    (field) => !given.fields.some((other) => other.name.text === field.name.text && other.type === field.type),
  );
}
