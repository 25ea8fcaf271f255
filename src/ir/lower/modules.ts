/**
 * Making module instances: parameters, fields, weight paths, `repeat`.
 *
 * A field contributes its name, or its `as` text (which may hold dots), to the path of the weights below it; `as ""`
 * contributes nothing; copy i of a `repeat` adds `i`; the model adds nothing. Every weight has a path of its own.
 */
import type { Identifier, Member, ModuleDeclaration, SubmoduleField, TensorField } from '../../parser/ast.ts';
import { limits } from '../../support/limits.ts';
import type { Span } from '../../support/source.ts';
import { constantValue } from '../symbolic.ts';
import { type EvaluatedArgument, evaluateArguments, matchArguments } from './arguments.ts';
import { type Binding, describe, type Instance, intBinding, numberOf, poison } from './binding.ts';
import { missingField } from './config.ts';
import { type Context, inFrame, isLibraryFile, report } from './context.ts';
import { conditionValue, evaluate } from './expressions.ts';
import { initializerOf, refuseInit } from './initializers.ts';
import { resolveModule, resolveName } from './names.ts';
import { childScope, lookup, type Scope } from './scope.ts';
import { stateBinding } from './state.ts';
import { applyTie } from './ties.ts';
import { originOfExpression, resolveType } from './typing.ts';

/** What somebody asks for: the module, its arguments, the path so far. */
export interface InstanceRequest {
  readonly declaration: ModuleDeclaration;
  readonly fileScope: Scope;
  readonly given: readonly EvaluatedArgument[];
  readonly path: readonly string[];
  readonly field: SubmoduleField | undefined;
  readonly span: Span;
}

const scalarTypes: readonly string[] = ['int', 'float', 'bool', 'string'];

/** One argument in the type of its parameter; undefined when it does not fit (reported). */
function parameterValue(
  context: Context,
  type: Identifier,
  argument: EvaluatedArgument,
  fileScope: Scope,
  subject: string,
): Binding | undefined {
  const { binding, span } = argument;
  if (binding.kind === 'poison') return undefined;
  if (scalarTypes.includes(type.text)) {
    if (binding.kind === type.text) return binding.kind === 'int' ? { ...binding, literal: false } : binding;
    const number = numberOf(binding);
    if (type.text === 'float' && number !== undefined) return { kind: 'float', value: number };
  } else {
    const config = resolveName(context, type.text, type.span, fileScope);
    if (config.kind === 'poison') return undefined;
    if (config.kind !== 'config') {
      report(
        context,
        'SORA2006',
        `a parameter is an int, float, bool, string or a config, not ${describe(config)}`,
        type.span,
      );
      return undefined;
    }
    if (binding.kind === 'config') {
      const missing = missingField(binding.declaration, config.declaration);
      if (missing === undefined) return binding;
      const name = `\`${missing.name.text}: ${missing.type}\``;
      report(
        context,
        'SORA2006',
        `${subject}: ${type.text}, but \`${binding.declaration.name.text}\` has no ${name}`,
        span,
        {
          labels: [{ span: missing.span, text: 'needed here' }],
        },
      );
      return undefined;
    }
  }
  report(context, 'SORA2006', `${subject}: ${type.text}, found ${describe(binding)}`, span, {
    labels: [{ span: type.span, text: 'declared here' }],
  });
  return undefined;
}

function bindParameters(context: Context, request: InstanceRequest, scope: Scope): boolean {
  const { declaration, fileScope, given, span } = request;
  const name = declaration.name.text;
  const parameters = declaration.parameters.map((parameter) => ({
    name: parameter.name.text,
    required: parameter.initial === undefined,
  }));
  const matched = matchArguments(context, { name, parameters, span: declaration.name.span }, given, span);
  if (matched === undefined) return false;
  let fits = true;
  for (const [at, parameter] of declaration.parameters.entries()) {
    let argument = matched[at];
    if (argument === undefined && parameter.initial) {
      const binding = evaluate(context, parameter.initial, scope);
      const origin = originOfExpression(parameter.initial, binding);
      argument = {
        name: undefined,
        binding: binding.kind === 'int' ? { ...binding, origin } : binding,
        span: parameter.initial.span,
      };
    }
    const subject = `\`${name}\` takes \`${parameter.name.text}\``;
    const value = argument && parameterValue(context, parameter.type, argument, fileScope, subject);
    if (value === undefined) fits = false;
    scope.names.set(parameter.name.text, {
      binding: value ?? poison,
      span: parameter.name.span,
      declaration: parameter,
    });
  }
  return fits;
}

/** The instance, or undefined when it cannot be made (reported). */
export function makeInstance(context: Context, request: InstanceRequest): Instance | undefined {
  const { declaration, fileScope, path, field, span } = request;
  context.used.add(declaration);
  context.elaborated.add(declaration);
  const outer = context.frames.find((frame) => frame.declaration === declaration);
  if (outer) {
    report(context, 'SORA2008', `module \`${declaration.name.text}\` contains itself`, span, {
      labels: [{ span: declaration.name.span, text: 'declared here' }],
    });
    return undefined;
  }
  context.instances += 1;
  if (context.frames.length >= limits.callDepth) {
    report(context, 'SORA5002', `modules are more than ${limits.callDepth} deep`, span);
    return undefined;
  }
  if (context.instances > limits.expandedNodes) {
    report(context, 'SORA5002', `the model has more than ${limits.expandedNodes} module instances`, span);
    return undefined;
  }
  return inFrame(context, { span, declaration, owner: undefined, label: undefined }, () => {
    const scope = childScope(fileScope);
    if (!bindParameters(context, request, scope)) return undefined;
    const instance: Instance = { declaration, scope, path, field, ties: [] };
    for (const member of declaration.members) {
      if (member.kind !== 'function' || member.name === undefined) continue;
      const binding: Binding = { kind: 'function', declaration: member, scope, owner: instance };
      scope.names.set(member.name.text, { binding, span: member.name.span, declaration: member });
    }
    for (const member of declaration.members) bindField(context, member, instance);
    for (const tie of instance.ties) applyTie(context, tie, scope);
    if (!context.firstInstances.has(declaration)) context.firstInstances.set(declaration, instance);
    return instance;
  });
}

function bindField(context: Context, member: Member, instance: Instance): void {
  if (member.kind === 'function' || member.kind === 'entry' || member.kind === 'derived-entry') return;
  const { scope } = instance;
  // The first of two members with one name stays: the second is reported by duplicates.ts.
  if (scope.names.has(member.name.text)) return;
  const before = member.kind !== 'state' && member.tied.length > 0 ? new Set(context.weights.keys()) : undefined;
  const binding =
    member.kind === 'state' ? stateBinding(context, member, instance) : fieldBinding(context, member, instance);
  if (before !== undefined && member.kind !== 'state' && binding.kind !== 'absent') {
    const weights = [...context.weights.keys()].filter((path) => !before.has(path));
    for (const clause of member.tied) instance.ties.push({ clause, field: member, weights });
  }
  scope.names.set(member.name.text, { binding, span: member.name.span, declaration: member });
}

function fieldBinding(context: Context, member: SubmoduleField | TensorField, instance: Instance): Binding {
  if (member.condition) {
    const holds = conditionValue(context, member.condition, instance.scope);
    if (holds === undefined) return poison;
    if (!holds) {
      if (member.kind === 'submodule')
        context.used.add(lookup(instance.scope, member.module.text)?.declaration ?? member);
      return { kind: 'absent', field: member, condition: member.condition.span };
    }
  }
  const segment = member.as?.text ?? member.name.text;
  const path = segment === '' ? instance.path : [...instance.path, segment];
  return member.kind === 'tensor'
    ? weightBinding(context, member, instance, path)
    : submodule(context, member, instance, path);
}

function weightBinding(context: Context, field: TensorField, instance: Instance, path: readonly string[]): Binding {
  const type = resolveType(context, field.type, instance.scope);
  if (type === undefined) return poison;
  const runtime = type.shape.find((dim) => constantValue(dim) === undefined);
  if (runtime) {
    report(context, 'SORA2203', `a weight has a fixed size, but \`${runtime.key}\` is a runtime dim`, field.type.span);
    return poison;
  }
  const name = path.join('.');
  const shown = isLibraryFile(field.span.file)
    ? context.frames.findLast((frame) => !isLibraryFile(frame.span.file))?.span
    : undefined;
  const span = shown ?? field.span;
  const earlier = context.weights.get(name);
  if (earlier) {
    report(context, 'SORA2009', `two weights are named \`${name}\` in the checkpoint`, span, {
      labels: [{ span: earlier.field, text: 'the first one' }],
      help: 'give one of the fields another name with `as "…"`',
    });
    return poison;
  }
  const initial = field.init && initializerOf(context, field.init, type, instance.scope);
  const weight = { path: name, type, span, doc: field.doc, ...(initial ? { initial } : {}) };
  context.weights.set(name, { weight, field: span });
  return { kind: 'weight', weight, field };
}

function submodule(context: Context, field: SubmoduleField, instance: Instance, path: readonly string[]): Binding {
  const found = resolveModule(context, field.module.text, field.module.span, instance.scope);
  if (field.init) refuseInit(context, field, field.init.span);
  const given = field.index ? [] : evaluateArguments(context, field.arguments, instance.scope);
  if (found.kind === 'poison') return poison;
  if (found.kind !== 'module-type') {
    report(
      context,
      'SORA2006',
      `a field is an instance of a module, but \`${field.module.text}\` is ${describe(found)}`,
      field.module.span,
    );
    return poison;
  }
  const count = field.count && copies(context, field, instance.scope);
  if (field.count && count === undefined) return poison;
  if (given.some((argument) => argument.binding.kind === 'poison')) return poison;
  const make = (at: readonly string[], own = given) =>
    makeInstance(context, {
      declaration: found.declaration,
      fileScope: found.scope,
      given: own,
      path: at,
      field,
      span: field.span,
    });
  if (count === undefined) {
    const made = make(path);
    return made === undefined ? poison : { kind: 'module', instance: made };
  }
  const instances: Instance[] = [];
  for (let at = 0; at < count; at++) {
    const before = context.instances;
    const own = field.index ? copyArguments(context, field, field.index, at, instance.scope) : given;
    if (own.some((argument) => argument.binding.kind === 'poison')) return poison;
    const made = make([...path, String(at)], own);
    if (made === undefined) return poison;
    instances.push(made);
    const perCopy = context.instances - before;
    if (at === 0 && before + perCopy * count > limits.expandedNodes) {
      report(
        context,
        'SORA5002',
        `${count} copies of ${perCopy} modules are more than ${limits.expandedNodes}`,
        field.span,
      );
      return poison;
    }
  }
  return { kind: 'repeat', field, instances };
}

/** Arguments of copy `at` of `repeat name[index in count]`. */
function copyArguments(
  context: Context,
  field: SubmoduleField,
  index: Identifier,
  at: number,
  outer: Scope,
): readonly EvaluatedArgument[] {
  const scope = childScope(outer);
  const binding: Binding = { ...intBinding(at), origin: { text: index.text, span: index.span } };
  scope.names.set(index.text, { binding, span: index.span, declaration: index });
  return evaluateArguments(context, field.arguments, scope);
}

function copies(context: Context, field: SubmoduleField, scope: Scope): number | undefined {
  if (field.count === undefined) return undefined;
  const binding = evaluate(context, field.count, scope);
  if (binding.kind === 'poison') return undefined;
  const count = binding.kind === 'int' ? constantValue(binding.dim) : undefined;
  if (count === undefined || count < 0) {
    report(
      context,
      'SORA2204',
      `the count of a \`repeat\` must be a known integer, found ${describe(binding)}`,
      field.count.span,
    );
    return undefined;
  }
  if (count > limits.repeatCount) {
    report(context, 'SORA5002', `${count} copies are more than ${limits.repeatCount}`, field.count.span);
    return undefined;
  }
  return count;
}
