/**
 * `sorac goldens DIR` (hidden: it needs a checkout's `models/`; `npm run goldens -- DIR` calls it): every reference case
 * of a folder through the path of `sorac run`, as one table.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compileProgram } from '../../compile.ts';
import type { EntrySpec } from '../../runtime/artifact.ts';
import { type Call, type Register, requiredOption, textOption } from '../command.ts';
import { type CommandResult, type Context, say, showDiagnostics } from '../context.ts';
import { deviceOption } from '../device-choice.ts';
import { compileFile, type OpenModel, openModel } from '../execute.ts';
import { environmentError, exitCodes, summarizeError, usageError } from '../exit-codes.ts';
import { caseName, findCaseFolders, type GoldenCase, type GoldenVariant, readCase } from '../golden-case.ts';
import { runCausal } from '../golden-causal.ts';
import { runCompression } from '../golden-compress.ts';
import { runAdaptive, runForward, withGradients } from '../golden-plain.ts';
import { failedRow, type Outcome, type Place, type Row, tolerance } from '../golden-rows.ts';
import { recordedRun, runTraining } from '../golden-train.ts';
import { readModelCatalog } from '../model-catalog.ts';
import { renderTable, scientific } from '../table.ts';

type Runner = (
  place: Place,
  variant: GoldenVariant,
  entries: readonly EntrySpec[],
  model: OpenModel,
) => Promise<readonly Row[]>;

const runners: ReadonlyMap<string, Runner> = new Map([
  [
    'plain',
    (place, variant, entries, model) => runForward(place, variant, [...variant.outputs.keys()], entries, model),
  ],
  ['adaptive', runAdaptive],
  ['causal', runCausal],
]);

/** Those that compile and load by themselves what the whole case needs. */
type CaseRunner = (
  golden: GoldenCase,
  folder: string,
  model: { readonly name: string; readonly path: string },
  device: string,
  seen: (adapter: string) => void,
) => Promise<readonly Row[]>;

const caseRunners: ReadonlyMap<string, CaseRunner> = new Map([
  [
    'compress',
    (golden, folder, { name, path }, device, seen) =>
      runCompression({ golden, folder, model: name, path, device, seen }),
  ],
  [
    'train',
    (golden, folder, { name, path }, device, seen) => {
      const place = { case: golden.name, variant: '' };
      const train = recordedRun(golden.description.train);
      if (typeof train === 'string') return Promise.resolve([failedRow(place, train)]);
      const { no_gradient: noGradient = {} } = golden.description as TrainDescription;
      const { configPath, weightsPath = '' } = golden;
      return runTraining(
        place,
        { folder, train, noGradient, path, model: name, configPath, weightsPath },
        device,
        seen,
      );
    },
  ],
]);

interface TrainDescription {
  readonly no_gradient?: Readonly<Record<string, readonly [number, number]>>;
}

export const registerGoldens: Register = (program, bind) => {
  program
    .command('goldens', { hidden: true })
    .description('run folders of reference cases')
    .argument('<dir>', 'folder of cases, or one case')
    .option('--filter <text>', 'only cases whose name contains this')
    .addOption(deviceOption())
    .action(bind(goldens));
};

async function goldens(context: Context, call: Call): Promise<CommandResult> {
  const [folder = ''] = call.args;
  const filter = textOption(call, 'filter') ?? '';
  const folders = findCaseFolders(folder).filter((path) => caseName(path).includes(filter));
  if (folders.length === 0) throw usageError(`no case of \`${folder}\` has \`${filter}\` in its name`);
  const catalog = readModelCatalog(modelsFolder());
  const device = requiredOption(call, 'device');
  const adapters = new Set<string>();
  const rows: Row[] = [];
  for (const path of folders) {
    rows.push(...(await runCase(context, path, catalog, device, adapters)));
  }
  return summarize(context, rows, [...adapters]);
}

/** `models/` of the package that this file belongs to, whether it runs from `src/` or from `dist/`. */
function modelsFolder(): string {
  const folder = fileURLToPath(new URL('../../../models', import.meta.url));
  if (!existsSync(folder)) throw environmentError('the folder `models` of sorac is missing', 'install sorac again');
  return folder;
}

async function runCase(
  context: Context,
  folder: string,
  catalog: ReadonlyMap<string, string>,
  device: string,
  adapters: Set<string>,
): Promise<readonly Row[]> {
  const name = caseName(folder);
  const whole = (outcome: Outcome, detail: string): readonly Row[] => [
    { case: name, variant: '', result: '', outcome, detail },
  ];
  const golden = await readCase(folder, [...runners.keys(), 'compress']);
  if ('problem' in golden) return whole('fail', golden.problem);
  const run = runners.get(golden.runner);
  const runWhole = caseRunners.get(golden.runner);
  if (run === undefined && runWhole === undefined) return whole('not supported yet', `runner \`${golden.runner}\``);
  const architecture = golden.architectures.find((candidate) => catalog.has(candidate));
  const path = architecture === undefined ? undefined : catalog.get(architecture);
  if (architecture === undefined || path === undefined) {
    return whole('not supported yet', `no model ${golden.architectures.join(', ')}`);
  }
  try {
    if (runWhole !== undefined)
      return await runWhole(
        golden,
        folder,
        { name: architecture, path },
        device,
        (adapter) => void adapters.add(adapter),
      );
    const compiled = compileFile({ path, model: architecture, configPath: golden.configPath });
    showDiagnostics(context, compiled.diagnostics);
    if (compiled.compilation === undefined) return whole('fail', 'the model does not compile with this config');
    const program = withGradients(compiled.compilation.program, golden.variants);
    const { artifact } = compileProgram(program, compiled.compilation.artifact.source).value ?? compiled.compilation;
    const model = await openModel(artifact, { weights: golden.weightsPath, device });
    adapters.add(model.adapter);
    try {
      const rows: Row[] = [];
      for (const variant of golden.variants) {
        const place = { case: name, variant: variant.name };
        if (run) rows.push(...(await run(place, variant, artifact.entries, model)));
      }
      return rows;
    } finally {
      await model.close();
    }
  } catch (error) {
    const summary = summarizeError(error);
    // No device at all is about the machine, not about the case.
    if (summary === undefined || summary.code === 'SORA6001') throw error;
    return whole('fail', `${summary.code}: ${summary.message}`);
  }
}

function summarize(context: Context, rows: readonly Row[], adapters: readonly string[]): CommandResult {
  const table = renderTable(
    [
      { title: 'case' },
      { title: 'variant' },
      { title: 'result' },
      { title: 'max abs', align: 'right' },
      { title: 'max rel', align: 'right' },
      { title: 'outcome' },
    ],
    rows.map((row) => [
      row.case,
      row.variant,
      row.result,
      row.maxAbsolute === undefined ? '' : scientific(row.maxAbsolute),
      row.maxRelative === undefined ? '' : scientific(row.maxRelative),
      row.detail === undefined ? row.outcome : `${row.outcome} (${row.detail})`,
    ]),
  );
  const casesWith = (outcome: Outcome) =>
    new Set(rows.filter((row) => row.outcome === outcome).map((row) => row.case)).size;
  const failed = casesWith('fail');
  const cases = new Set(rows.map((row) => row.case)).size;
  // A case of which only a part is supported counts as what that part gave.
  const ran = new Set(rows.filter((row) => row.outcome !== 'not supported yet').map((row) => row.case)).size;
  const notSupported = cases - ran;
  const passed = ran - failed;
  const summary = `${cases} cases: ${passed} passed, ${failed} failed, ${notSupported} not supported yet`;
  if (adapters.length > 0) say(context, `ran on ${adapters.join(', ')}; tolerance ${tolerance}`);
  return {
    exitCode: failed > 0 ? exitCodes.model : exitCodes.ok,
    document: { ok: failed === 0, adapters, tolerance, cases, passed, failed, notSupported, results: rows },
    text: `${table}\n\n${summary}`,
  };
}
