/**
 * The command line: parses arguments, runs one command, maps every error to an exit code. A person never sees a stack
 * trace; a bug of ours leaves a report file.
 */
import { Command, CommanderError } from 'commander';
import { version } from '../version.ts';
import type { Bind, Register } from './command.ts';
import { registerCheck } from './commands/check.ts';
import { registerCompile } from './commands/compile.ts';
import { registerCompress } from './commands/compress.ts';
import { registerDoctor } from './commands/doctor.ts';
import { registerExplain } from './commands/explain.ts';
import { registerFormat } from './commands/fmt.ts';
import { registerGolden } from './commands/golden.ts';
import { registerGoldens } from './commands/goldens.ts';
import { registerGpu } from './commands/gpu.ts';
import { registerRun } from './commands/run.ts';
import { registerTrain } from './commands/train.ts';
import { registerWeights } from './commands/weights.ts';
import { type Context, createContext, finish, type GlobalOptions, type Output } from './context.ts';
import { type ErrorSummary, exitCodeHelp, exitCodes, summarizeError } from './exit-codes.ts';
import { takeInterrupt } from './interrupt.ts';
import { writeReport } from './report.ts';

const commands: readonly Register[] = [
  registerCompile,
  registerCheck,
  registerRun,
  registerTrain,
  registerCompress,
  registerFormat,
  registerExplain,
  registerGolden,
  registerWeights,
  registerDoctor,
  registerGpu,
  registerGoldens,
];

export interface Streams {
  readonly stdout: Output;
  readonly stderr: Output;
}

function createProgram(streams: Streams, bind: Bind): Command {
  const program = new Command('sorac')
    .description('Compiles .sora models to WGSL and one typed ES module, and runs them.')
    .version(version, '-V, --version')
    .option('--json', 'one JSON document on stdout')
    .option('--color <when>', 'colours: auto, always, never', 'auto')
    .helpCommand(true)
    .showSuggestionAfterError(true)
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => streams.stdout.write(text),
      writeErr: (text) => streams.stderr.write(text),
    })
    .addHelpText('after', `\n${exitCodeHelp}`)
    .exitOverride();
  for (const register of commands) register(program, bind);
  return program;
}

/** Runs one command line (without `node` and the script) and returns its exit code. */
export async function runCommandLine(argv: readonly string[], streams: Streams = process): Promise<number> {
  let exitCode: number = exitCodes.ok;
  // Only for an error before any context exists: `--json` may stand anywhere on the line.
  let context: Context = createContext({ json: argv.includes('--json') }, streams.stdout, streams.stderr, process.env);
  const bind: Bind =
    (run) =>
    async (...everything) => {
      const command = everything.at(-1);
      if (!(command instanceof Command)) throw new TypeError('commander passes the command last');
      const options = command.optsWithGlobals<GlobalOptions & Record<string, unknown>>();
      context = createContext(options, streams.stdout, streams.stderr, process.env);
      exitCode = finish(context, await run(context, { args: command.args, options }));
    };
  const forget = streams === process ? watchProcess() : undefined;
  try {
    await createProgram(streams, bind).parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    return failure(error, context, argv);
  } finally {
    forget?.();
  }
}

function failure(error: unknown, context: Context, argv: readonly string[]): number {
  // Commander has already printed its message; help and version are no errors.
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.ok;
    const message = error.code === 'commander.help' ? 'no command is named' : error.message.replace(/^error: /, '');
    writeError(context, { code: 'SORA0001', message });
    return exitCodes.usage;
  }
  const summary = summarizeError(error);
  if (summary !== undefined) {
    printError(context, summary);
    return summary.exitCode;
  }
  const report = writeReport(error, argv);
  const message = error instanceof Error ? error.message : String(error);
  printError(context, {
    code: 'SORA9999',
    message: `internal error: ${message}`,
    help: `this is a bug in sorac: please report it${report === undefined ? '' : ` with the file ${report}`}`,
    exitCode: exitCodes.internal,
  });
  return exitCodes.internal;
}

function printError(context: Context, summary: ErrorSummary): void {
  const { code, message, help } = summary;
  const label = context.colors.bold(context.colors.red(code.startsWith('SORA') ? `error[${code}]` : 'error'));
  context.stderr.write(`${label}: ${message}\n${help === undefined ? '' : `  help: ${help}\n`}`);
  writeError(context, summary);
}

/** The `--json` document of an error. */
function writeError(context: Context, { code, message, help }: Omit<ErrorSummary, 'exitCode'>): void {
  if (!context.json) return;
  const document = { schema: 1, ok: false, error: { code, message, ...(help === undefined ? {} : { help }) } };
  context.stdout.write(`${JSON.stringify(document, null, 2)}\n`);
}

/** Ctrl-C ends with 130; a reader that closed our pipe (`sorac … | head`) is no error. */
function watchProcess(): () => void {
  const interrupt = () => {
    if (!takeInterrupt()) process.exit(exitCodes.interrupted);
  };
  const pipe = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exitCodes.ok);
    throw error;
  };
  process.on('SIGINT', interrupt);
  process.stdout.on('error', pipe);
  return () => {
    process.off('SIGINT', interrupt);
    process.stdout.off('error', pipe);
  };
}
