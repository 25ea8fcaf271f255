/**
 * Module emission: an artifact becomes one ES module and its declarations.
 */
import type { Artifact } from '../../runtime/artifact.ts';
import { describeModule } from './describe.ts';
import { printDeclarations } from './print-dts.ts';
import { printJavaScript } from './print-js.ts';
import { generationRuntimeText, runtimeText, sessionRuntimeText } from './runtime-text.generated.ts';

export interface EmittedModule {
  readonly js: string;
  readonly dts: string;
}

/** `fileName` is the name of the `.sora` file without folders: it stands in the header, so no path may be in it. */
export function emitModule(artifact: Artifact, options: { readonly fileName: string }): EmittedModule {
  const module = describeModule(artifact, options.fileName);
  const withStates = artifact.generation === undefined ? sessionRuntimeText : generationRuntimeText;
  const runtime = artifact.session === undefined ? runtimeText : withStates;
  return { js: printJavaScript(artifact, module, runtime), dts: printDeclarations(artifact, module) };
}
