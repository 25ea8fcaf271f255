/**
 * Lexical scopes: names to bindings, with the place of the declaration (for "declared twice" and for unused names).
 */
import type { Span } from '../../support/source.ts';
import type { Binding } from './binding.ts';

export interface ScopeEntry {
  readonly binding: Binding;
  /** Where the name was declared; undefined for what the compiler put there. */
  readonly span: Span | undefined;
  /** Identity of the declaration for the unused lint: a let, an import name, a field. */
  readonly declaration: object | undefined;
}

export interface Scope {
  readonly parent: Scope | undefined;
  readonly names: Map<string, ScopeEntry>;
}

export function childScope(parent: Scope | undefined): Scope {
  return { parent, names: new Map() };
}

export function lookup(scope: Scope, name: string): ScopeEntry | undefined {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) {
    const entry = at.names.get(name);
    if (entry) return entry;
  }
  return undefined;
}

/**
 * The name under which a module lies in a scope when a config of its file is named alike: `model Llama(c: Llama)`. The plain
 * name is the config then, whose values are read far more often.
 */
export function shadowedModule(name: string): string {
  return `module ${name}`;
}

/** Every name that can be seen from here, nearest first. */
export function visibleNames(scope: Scope): readonly string[] {
  const names = new Set<string>();
  for (let at: Scope | undefined = scope; at !== undefined; at = at.parent) {
    for (const name of at.names.keys()) if (!name.includes(' ')) names.add(name);
  }
  return [...names];
}
