/**
 * The public API of the compiler: nothing else of src/ is public.
 */
export { emitModule } from './codegen/module/index.ts';
export { type Compilation, type CompileHost, type CompileInput, checkSource, compile } from './compile.ts';
export { type CompiledModule, CompileError, type CompileModuleOptions, compileModule } from './compile-module.ts';
export type { DynamicModel, DynamicSession, EntryMethod } from './dynamic-model.ts';
export { formatSource } from './parser/index.ts';
export type { Artifact } from './runtime/artifact.ts';
export type { Diagnostic, Label, Severity, Stage } from './support/diagnostic.ts';
export { SoraError } from './support/error.ts';
export { renderDiagnostics } from './support/render.ts';
export type { SourceFile, Span } from './support/source.ts';
export { version } from './version.ts';
