/**
 * Module emission: an artifact becomes one ES module and its declarations.
 */
import type { Artifact } from '../../runtime/artifact.ts';
import { describeModule } from './describe.ts';
import { printDeclarations } from './print-dts.ts';
import { printJavaScript } from './print-js.ts';
import {
  generationRuntimeText,
  packedGenerationRuntimeText,
  packedRuntimeText,
  runtimeText,
  sessionRuntimeText,
  trainingRuntimeText,
  wholeRuntimeText,
} from './runtime-text.generated.ts';

export interface EmittedModule {
  readonly js: string;
  readonly dts: string;
}

/** `fileName` is the name of the `.sora` file without folders: it stands in the header, so no path may be in it. */
export function emitModule(artifact: Artifact, options: { readonly fileName: string }): EmittedModule {
  const module = describeModule(artifact, options.fileName);
  return { js: printJavaScript(artifact, module, runtimeFor(artifact)), dts: printDeclarations(artifact, module) };
}

/** The least runtime that has what the model needs. */
function runtimeFor({ session, generation, training, weights }: Artifact): string {
  const isPacked = weights.some(({ layout }) => layout.kind === 'packed' || layout.kind === 'nm');
  if (isPacked && !training) return session ? packedGenerationRuntimeText : packedRuntimeText;
  if (training) return session ? wholeRuntimeText : trainingRuntimeText;
  if (!session) return runtimeText;
  return generation ? generationRuntimeText : sessionRuntimeText;
}
