/**
 * The parser: text to `SourceTree`, imports, formatter.
 */
export { formatSource } from './format.ts';
export { type ImportHost, resolveImportPath, resolveImports } from './imports.ts';
export { overrideUses } from './override-uses.ts';
export { parse } from './parse.ts';
