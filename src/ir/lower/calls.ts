/**
 * Calls: functions, module instances, repeated modules, built-ins.
 *
 * A function body is elaborated at every call with the argument shapes of that call. Calling a module instance applies
 * its unnamed `fn`; calling a repeated module feeds the first argument through all copies in order, so each copy must
 * give what it takes.
 */
import type { Expression, FunctionParameter } from '../../parser/ast.ts';
import { limits } from '../../support/limits.ts';
import { type Span, spanText } from '../../support/source.ts';
import { sameType } from '../types.ts';
import { type EvaluatedArgument, evaluateArguments, matchArguments } from './arguments.ts';
import {
  type Binding,
  describe,
  type FunctionBinding,
  type Instance,
  numberOf,
  poison,
  type RepeatBinding,
} from './binding.ts';
import { behindPart } from './bottlenecks.ts';
import { type Context, inFrame, report } from './context.ts';
import { evaluate } from './expressions.ts';
import { applyIntrinsic } from './intrinsics.ts';
import { clashingDims, numberNotes, originLabels, writtenType } from './origin.ts';
import { childScope, type Scope } from './scope.ts';
import { asTensor, isTensor, tensorOf } from './tensors.ts';
import { matchType, resolveType } from './typing.ts';

type Call = Extract<Expression, { kind: 'call' }>;

export function callExpression(context: Context, call: Call, scope: Scope): Binding {
  const callee = evaluate(context, call.callee, scope);
  const given = evaluateArguments(context, call.arguments, scope);
  return applyBinding(context, callee, given, call.span, call.callee.span);
}

/** Calls whatever can be called. */
export function applyBinding(
  context: Context,
  callee: Binding,
  given: readonly EvaluatedArgument[],
  span: Span,
  calleeSpan: Span,
): Binding {
  switch (callee.kind) {
    case 'poison':
      return poison;
    case 'function':
      return applyFunction(context, callee, given, span, callee.declaration.name?.text ?? 'fn');
    case 'module':
      return applyInstance(context, callee.instance, given, span);
    case 'repeat':
      return applyRepeat(context, callee, given, span);
    case 'intrinsic':
      return applyIntrinsic(context, callee.name, given, span);
    case 'module-type': {
      const name = callee.declaration.name.text;
      report(context, 'SORA2006', `module \`${name}\` has weights: make it a field, then call the field`, span, {
        labels: [{ span: callee.declaration.name.span, text: 'declared here' }],
        help: `in the module: \`name = ${name}(…)\``,
      });
      return poison;
    }
    default:
      report(context, 'SORA2006', `${describe(callee)} cannot be called`, calleeSpan);
      return poison;
  }
}

/** The unnamed `fn` of a module. */
export function mainFunction(instance: Instance): FunctionBinding | undefined {
  const declaration = instance.declaration.members.find(
    (member) => member.kind === 'function' && member.name === undefined,
  );
  return declaration?.kind === 'function'
    ? { kind: 'function', declaration, scope: instance.scope, owner: instance }
    : undefined;
}

function instanceName(instance: Instance): string {
  return instance.field?.name.text ?? instance.declaration.name.text;
}

function applyInstance(context: Context, instance: Instance, given: readonly EvaluatedArgument[], span: Span): Binding {
  const main = mainFunction(instance);
  if (main) return applyFunction(context, main, given, span, instanceName(instance));
  const { name } = instance.declaration;
  report(context, 'SORA2006', `module \`${name.text}\` has no unnamed \`fn\`, so it cannot be called`, span, {
    labels: [{ span: name.span, text: 'declared here' }],
  });
  return poison;
}

/** One scalar argument in the type of its parameter. */
function scalarArgument(
  context: Context,
  parameter: FunctionParameter,
  argument: EvaluatedArgument,
  subject: string,
): Binding | undefined {
  const { binding, span } = argument;
  if (parameter.type.kind !== 'scalar-type') return undefined;
  const wanted = parameter.type.name;
  if (binding.kind === wanted) return binding.kind === 'int' ? { ...binding, literal: false } : binding;
  const number = numberOf(binding);
  if (wanted === 'float' && number !== undefined) return { kind: 'float', value: number };
  report(context, 'SORA2006', `${subject}: ${wanted}, found ${describe(binding)}`, span, {
    labels: [{ span: parameter.type.span, text: 'declared here' }],
  });
  return undefined;
}

/** Parameters bound in a new scope; undefined when an argument does not fit (reported). */
function bindParameters(
  context: Context,
  fn: FunctionBinding,
  given: readonly EvaluatedArgument[],
  span: Span,
  name: string,
): Scope | undefined {
  const { declaration } = fn;
  const parameters = declaration.parameters.map((parameter) => ({
    name: parameter.name.text,
    required: parameter.initial === undefined,
  }));
  const matched = matchArguments(
    context,
    { name, parameters, span: declaration.name?.span ?? declaration.span },
    given,
    span,
  );
  if (matched === undefined) return undefined;
  if (reportSwapped(context, declaration.parameters, matched, name)) return undefined;
  const scope = childScope(fn.scope);
  const values: Binding[] = [];
  let failed = false;
  // All types before all names: a parameter's name must not stand for a dim of the next parameter's type.
  for (const [at, parameter] of declaration.parameters.entries()) {
    const argument = matched[at] ?? initialArgument(context, parameter, fn.scope);
    const value = argument && bindOne(context, parameter, argument, scope, name);
    if (value === undefined) failed = true;
    values.push(value ?? poison);
  }
  for (const [at, parameter] of declaration.parameters.entries()) {
    scope.names.set(parameter.name.text, {
      binding: values[at] ?? poison,
      span: parameter.name.span,
      declaration: parameter,
    });
  }
  return failed ? undefined : scope;
}

/** Two tensors of unlike element types, each where the other belongs: one mistake, not two. */
function reportSwapped(
  context: Context,
  parameters: readonly FunctionParameter[],
  matched: readonly (EvaluatedArgument | undefined)[],
  name: string,
): boolean {
  const wrong = parameters.flatMap((parameter, at) => {
    const argument = matched[at];
    if (parameter.type.kind === 'scalar-type' || argument?.binding.kind !== 'tensor' || argument.name) return [];
    const [wanted, given] = [parameter.type.dtype.text, argument.binding.value.type.dtype];
    return wanted === given ? [] : [{ parameter, argument, wanted, given }];
  });
  const [first, second, ...others] = wrong;
  if (first === undefined || second === undefined || others.length > 0) return false;
  if (first.wanted !== second.given || second.wanted !== first.given) return false;
  const [one, other] = [first.parameter.name.text, second.parameter.name.text];
  report(
    context,
    'SORA2103',
    `\`${name}\` takes \`${one}\` before \`${other}\`: these two are swapped`,
    first.argument.span,
    {
      labels: [
        { span: first.parameter.type.span, text: `\`${one}\` is \`${first.wanted}\`` },
        { span: second.parameter.type.span, text: `\`${other}\` is \`${second.wanted}\`` },
        { span: second.argument.span, text: `this is \`${second.given}\`` },
      ],
      help: 'change their order, or name them',
      fixes: [
        {
          title: 'swap them',
          edits: [
            { span: first.argument.span, text: spanText(second.argument.span) },
            { span: second.argument.span, text: spanText(first.argument.span) },
          ],
        },
      ],
    },
  );
  return true;
}

function initialArgument(context: Context, parameter: FunctionParameter, scope: Scope): EvaluatedArgument | undefined {
  if (parameter.initial === undefined) return undefined;
  return { name: undefined, binding: evaluate(context, parameter.initial, scope), span: parameter.initial.span };
}

function bindOne(
  context: Context,
  parameter: FunctionParameter,
  argument: EvaluatedArgument,
  scope: Scope,
  name: string,
): Binding | undefined {
  if (argument.binding.kind === 'poison') return undefined;
  const subject = `\`${name}\` takes \`${parameter.name.text}\``;
  if (parameter.type.kind === 'scalar-type') return scalarArgument(context, parameter, argument, subject);
  const syntax = parameter.type;
  if (
    !isTensor(argument.binding) &&
    numberOf(argument.binding) === undefined &&
    argument.binding.kind !== 'int' &&
    argument.binding.kind !== 'bool'
  ) {
    report(context, 'SORA2006', `${subject}: a tensor, found ${describe(argument.binding)}`, argument.span, {
      labels: [{ span: syntax.span, text: 'declared here' }],
    });
    return undefined;
  }
  const wanted = syntax.dtype.text;
  const dtype =
    wanted === 'f32' || wanted === 'f16' || wanted === 'i32' || wanted === 'u32' || wanted === 'bool'
      ? wanted
      : undefined;
  const value = asTensor(context, argument, isTensor(argument.binding) ? undefined : dtype);
  if (value === undefined) return undefined;
  return matchType(context, { syntax, value, span: argument.span, subject, scope })
    ? { kind: 'tensor', value }
    : undefined;
}

export function applyFunction(
  context: Context,
  fn: FunctionBinding,
  given: readonly EvaluatedArgument[],
  span: Span,
  name: string,
): Binding {
  const { declaration, owner } = fn;
  context.used.add(declaration);
  context.elaborated.add(declaration);
  const outer = context.frames.find((frame) => frame.declaration === declaration && frame.owner === owner);
  if (outer) {
    report(context, 'SORA2008', `\`${name}\` calls itself`, span, {
      labels: [{ span: outer.span, text: 'the call that is still running' }],
    });
    return poison;
  }
  if (given.some((argument) => argument.binding.kind === 'poison')) return poison;
  context.calls += 1;
  if (context.frames.length >= limits.callDepth) {
    report(context, 'SORA5002', `calls are more than ${limits.callDepth} deep`, span);
    return poison;
  }
  if (context.calls > limits.elaboratedCalls) {
    report(context, 'SORA5002', `the model makes more than ${limits.elaboratedCalls} calls`, span);
    return poison;
  }
  const label = owner === undefined || owner.path.length === 0 ? undefined : owner.path.join('.');
  return inFrame(context, { span, declaration, owner, label }, () => {
    const scope = bindParameters(context, fn, given, span, name);
    if (scope === undefined) return poison;
    const result = checkResult(context, fn, evaluate(context, declaration.body, scope), scope, name);
    const isPart = declaration.kind === 'function' && declaration.name === undefined;
    return isPart ? behindPart(context, result, span) : result;
  });
}

/** Where the value of a block is written: its last expression. */
export function resultSpan(body: Expression): Span {
  return body.kind === 'block' ? resultSpan(body.result) : body.span;
}

function checkResult(context: Context, fn: FunctionBinding, result: Binding, scope: Scope, name: string): Binding {
  const syntax = fn.declaration.result;
  if (syntax === undefined || result.kind === 'poison') return result;
  const expected = resolveType(context, syntax, scope);
  if (expected === undefined) return poison;
  const span = resultSpan(fn.declaration.body);
  const value = asTensor(context, { binding: result, span }, isTensor(result) ? undefined : expected.dtype);
  if (value === undefined) return poison;
  if (sameType(value.type, expected)) return { kind: 'tensor', value };
  const clash = clashingDims(expected.shape, value.type.shape);
  report(
    context,
    'SORA2104',
    `\`${name}\` declares \`${writtenType(expected)}\`, but this is \`${writtenType(value.type)}\``,
    span,
    {
      labels: [{ span: syntax.span, text: 'declared here' }, ...originLabels(clash, [span, syntax.span])],
      notes: numberNotes(expected, value.type),
    },
  );
  return poison;
}

function applyRepeat(
  context: Context,
  repeat: RepeatBinding,
  given: readonly EvaluatedArgument[],
  span: Span,
): Binding {
  const [first, ...rest] = given;
  const name = repeat.field.name.text;
  if (first === undefined || first.name !== undefined) {
    report(context, 'SORA2007', `\`${name}\` is repeated: its first argument is what goes through all copies`, span, {
      labels: [{ span: repeat.field.span, text: 'repeated here' }],
    });
    return poison;
  }
  let carried = first.binding;
  for (const [at, instance] of repeat.instances.entries()) {
    const before = context.site?.nodes ?? 0;
    const result = applyInstance(context, instance, [{ ...first, binding: carried }, ...rest], span);
    if (result.kind === 'poison') return poison;
    // With an index the copies may differ; what one gives must then fit what the next one takes.
    if (at === 0 && repeat.field.index === undefined && !keepsType(context, repeat, carried, result, first.span, span))
      return poison;
    const perCopy = (context.site?.nodes ?? 0) - before;
    if (at === 0 && before + perCopy * repeat.instances.length > limits.expandedNodes) {
      const count = repeat.instances.length;
      report(
        context,
        'SORA5002',
        `${count} copies of ${perCopy} operations are more than ${limits.expandedNodes}`,
        span,
        {
          labels: [{ span: repeat.field.span, text: 'repeated here' }],
        },
      );
      return poison;
    }
    carried = result;
  }
  return carried;
}

/** A copy feeds the next: what it gives must have the type of what it takes. */
function keepsType(
  context: Context,
  repeat: RepeatBinding,
  carried: Binding,
  result: Binding,
  argumentSpan: Span,
  span: Span,
): boolean {
  const name = repeat.field.name.text;
  const taken = tensorOf(context, carried);
  const given = tensorOf(context, result);
  const declared = repeat.instances[0] && mainFunction(repeat.instances[0])?.declaration;
  if (taken === undefined || given === undefined) {
    report(
      context,
      'SORA2107',
      `\`${name}\` is repeated, so it must take and give a tensor; it gives ${describe(result)}`,
      span,
      {
        labels: [{ span: repeat.field.span, text: 'repeated here' }],
      },
    );
    return false;
  }
  if (sameType(taken.type, given.type)) return true;
  const clash = given.type.shape.find((dim, axis) => taken.type.shape[axis]?.key !== dim.key);
  const parameter = declared?.parameters[0]?.type;
  report(
    context,
    'SORA2107',
    `each copy of \`${name}\` feeds the next, but it takes \`${writtenType(taken.type)}\` and gives \`${writtenType(given.type)}\``,
    span,
    {
      labels: [
        { span: repeat.field.span, text: 'repeated here' },
        ...(parameter ? [{ span: parameter.span, text: `takes \`${writtenType(taken.type)}\`` }] : []),
        ...originLabels([clash], [argumentSpan, span]),
      ],
      notes: numberNotes(taken.type, given.type),
    },
  );
  return false;
}
