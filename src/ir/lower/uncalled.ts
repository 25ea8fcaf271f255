/**
 * Checks what no entry reaches: other models of the file, modules nobody makes, functions nobody calls.
 *
 * They are elaborated once on stand-in arguments (parameter types with each shape variable as a dim of its own). What can
 * only be judged with real sizes (index ranges, conditions on dims) is not reported from here. Modules whose parameters
 * have no defaults get their names looked up and nothing more.
 */
import type { FunctionMember, FunctionParameter, ModuleDeclaration } from '../../parser/ast.ts';
import type { Code } from '../../support/codes.ts';
import { GraphBuilder } from '../graph.ts';
import { type Dim, symbolDim } from '../symbolic.ts';
import type { Shape, TensorType } from '../types.ts';
import type { EvaluatedArgument } from './arguments.ts';
import { type FunctionBinding, type Instance, poison, tensorBinding } from './binding.ts';
import { applyFunction } from './calls.ts';
import { type Context, isLibraryFile } from './context.ts';
import { lowerEntry } from './entries.ts';
import { touchInitializer } from './initializers.ts';
import { makeInstance } from './modules.ts';
import { childScope, lookup, type Scope } from './scope.ts';
import { touchNames } from './touch.ts';
import { evaluateDim, resolveDtype } from './typing.ts';

/** Judged only with the sizes of a real call. */
const needsSizes: ReadonlySet<Code> = new Set<Code>(['SORA2106', 'SORA2203', 'SORA2206', 'SORA5002']);

/** Arguments for the parameters of a model or module: its configs; undefined when another one has no default. */
export function configArguments(
  declaration: ModuleDeclaration,
  fileScope: Scope,
): readonly EvaluatedArgument[] | undefined {
  const given: EvaluatedArgument[] = [];
  for (const parameter of declaration.parameters) {
    const binding = lookup(fileScope, parameter.type.text)?.binding;
    if (binding?.kind === 'config') given.push({ name: parameter.name, binding, span: parameter.span });
    else if (parameter.initial === undefined) return undefined;
  }
  return given;
}

/** Judged only where shape variables have the sizes of a call. */
const needsVariables: ReadonlySet<Code> = new Set<Code>([
  'SORA2101',
  'SORA2104',
  'SORA2105',
  'SORA2107',
  'SORA2108',
  'SORA2109',
  'SORA2110',
]);

function hasVariables(fn: FunctionBinding): boolean {
  return fn.declaration.parameters.some(
    ({ type }) =>
      type.kind === 'tensor-type' &&
      type.dims.some((item) => item.kind === 'ellipsis' || (item.kind === 'name' && !lookup(fn.scope, item.name))),
  );
}

function standInType(context: Context, parameter: FunctionParameter, scope: Scope): TensorType | undefined {
  if (parameter.type.kind === 'scalar-type') return undefined;
  const dtype = resolveDtype(context, parameter.type);
  const shape: Dim[] = [];
  for (const item of parameter.type.dims) {
    if (item.kind === 'ellipsis') continue;
    if (item.kind === 'name' && lookup(scope, item.name) === undefined) {
      if (!context.ranges.has(item.name)) context.ranges.set(item.name, { minimum: 1, maximum: 1, multiple: 1 });
      shape.push(symbolDim(item.name));
      continue;
    }
    const dim = evaluateDim(context, item, scope);
    if (dim === undefined) return undefined;
    shape.push(dim);
  }
  const known: Shape = shape;
  return dtype === undefined ? undefined : { dtype, shape: known };
}

/** Names in a function that is not elaborated. */
function touchFunction(context: Context, declaration: FunctionBinding['declaration'], outer: Scope): void {
  const scope = childScope(outer);
  for (const parameter of declaration.parameters) {
    if (parameter.type.kind === 'tensor-type') {
      for (const item of parameter.type.dims) {
        const isVariable = item.kind === 'name' && lookup(outer, item.name) === undefined;
        if (item.kind === 'name' && isVariable)
          scope.names.set(item.name, { binding: poison, span: item.span, declaration: undefined });
        else if (item.kind !== 'ellipsis') touchNames(context, item, scope);
      }
    }
  }
  for (const parameter of declaration.parameters) {
    scope.names.set(parameter.name.text, { binding: poison, span: parameter.name.span, declaration: undefined });
  }
  touchNames(context, declaration.body, scope);
}

function tryFunction(context: Context, fn: FunctionBinding): void {
  const { declaration, scope } = fn;
  if (context.elaborated.has(declaration)) return;
  const builder = new GraphBuilder();
  const given: EvaluatedArgument[] = [];
  for (const parameter of declaration.parameters) {
    const type = standInType(context, parameter, scope);
    if (type)
      given.push({
        name: undefined,
        binding: tensorBinding(builder.input(parameter.name.text, type)),
        span: parameter.span,
      });
    else if (parameter.initial === undefined) {
      touchFunction(context, declaration, scope);
      return;
    }
  }
  const before = context.diagnostics.length;
  context.site = { builder, weights: new Map(), nodes: 0 };
  applyFunction(context, fn, given, declaration.span, declaration.name?.text ?? 'fn');
  context.site = undefined;
  if (!hasVariables(fn)) return;
  const found = context.diagnostics.splice(before);
  context.diagnostics.push(...found.filter((diagnostic) => !needsVariables.has(diagnostic.code)));
}

/** The functions of an instance that nothing elaborated yet. */
function tryFunctions(context: Context, instance: Instance): void {
  for (const member of instance.declaration.members) {
    if (member.kind === 'function') {
      tryFunction(context, { kind: 'function', declaration: member, scope: instance.scope, owner: instance });
    }
  }
}

function touchModule(context: Context, declaration: ModuleDeclaration, fileScope: Scope): void {
  const scope = childScope(fileScope);
  const hide = (name: string | undefined, span: FunctionMember['span']): void => {
    if (name !== undefined) scope.names.set(name, { binding: poison, span, declaration: undefined });
  };
  for (const parameter of declaration.parameters) hide(parameter.name.text, parameter.span);
  for (const member of declaration.members)
    if (member.kind !== 'entry' && member.kind !== 'derived-entry') hide(member.name?.text, member.span);
  for (const member of declaration.members) {
    if (member.kind === 'submodule') {
      touchNames(context, { kind: 'name', name: member.module.text, span: member.module.span }, scope);
      const inner = childScope(scope);
      if (member.index) {
        const { text, span } = member.index;
        inner.names.set(text, { binding: poison, span, declaration: undefined });
      }
      for (const argument of member.arguments) touchNames(context, argument.value, inner);
      if (member.count) touchNames(context, member.count, scope);
      context.used.add(member);
    } else if (member.kind === 'state') {
      for (const argument of member.arguments) touchNames(context, argument.value, scope);
      context.used.add(member);
    } else if (member.kind === 'tensor') {
      for (const item of member.type.dims) if (item.kind !== 'ellipsis') touchNames(context, item, scope);
      if (member.init) touchInitializer(context, member.init.value, scope);
      context.used.add(member);
    } else if (member.kind === 'function') touchFunction(context, member, scope);
  }
}

function tryModule(context: Context, declaration: ModuleDeclaration, fileScope: Scope): void {
  const given = configArguments(declaration, fileScope);
  if (given === undefined) {
    touchModule(context, declaration, fileScope);
    return;
  }
  const known = new Set(context.weights.keys());
  const states = new Set(context.states.keys());
  // A path that no weight of the program has, so that nothing clashes.
  const path = ['', declaration.name.text];
  const span = declaration.name.span;
  const instance = makeInstance(context, { declaration, fileScope, given, path, field: undefined, span });
  for (const key of [...context.weights.keys()]) if (!known.has(key)) context.weights.delete(key);
  for (const key of [...context.states.keys()]) if (!states.has(key)) context.states.delete(key);
  if (instance === undefined) return;
  tryFunctions(context, instance);
  for (const member of declaration.members) if (member.kind === 'entry') lowerEntry(context, member, instance);
}

export function checkUncalled(context: Context): void {
  const before = context.diagnostics.length;
  for (const instance of [...context.firstInstances.values()]) {
    if (!isLibraryFile(instance.declaration.span.file)) tryFunctions(context, instance);
  }
  for (const tree of context.trees) {
    const scope = context.fileScopes.get(tree.file);
    if (scope === undefined || isLibraryFile(tree.file)) continue;
    for (const declaration of tree.declarations) {
      if (context.elaborated.has(declaration)) continue;
      if (declaration.kind === 'module' || declaration.kind === 'model') tryModule(context, declaration, scope);
      else if (declaration.kind === 'function') {
        tryFunction(context, { kind: 'function', declaration, scope, owner: undefined });
      }
    }
  }
  const found = context.diagnostics.splice(before);
  context.diagnostics.push(...found.filter((diagnostic) => !needsSizes.has(diagnostic.code)));
}
