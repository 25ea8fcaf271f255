/**
 * From one file to all files it needs: parses what is imported, in dependency order.
 *
 * Paths are project paths with forward slashes. `"./a.sora"` and `"../a.sora"` are relative to the importing file and stay
 * inside the project; `"sora:nn"` is a library. Nothing touches a disk here: the host gives text by path.
 * Which *names* a file has is the business of lowering.
 */
import { type Diagnostic, diagnose, type Stage } from '../support/diagnostic.ts';
import { limits } from '../support/limits.ts';
import { type SourceFile, spanText } from '../support/source.ts';
import { closest } from '../support/suggest.ts';
import type { Import, SourceTree } from './ast.ts';
import { parse } from './parse.ts';

export interface ImportHost {
  /** Text of a file by its project path (`blocks/attention.sora`) or library name (`sora:nn`); undefined: no such file. */
  readFile(path: string): string | undefined;
  /** Text of library files by name (`sora:nn`); asked before `readFile`. */
  readonly library?: ReadonlyMap<string, string>;
  /** Project paths of `.sora` files, for did-you-mean. */
  listFiles?(): readonly string[];
}

const libraryPrefix = 'sora:';

/** Trees of library files by library: they never change, and most compilations of a process read them. */
const libraryTrees = new WeakMap<ReadonlyMap<string, string>, Map<string, Stage<SourceTree>>>();

function parseLibrary(library: ReadonlyMap<string, string>, file: SourceFile): Stage<SourceTree> {
  const trees = libraryTrees.get(library) ?? new Map<string, Stage<SourceTree>>();
  libraryTrees.set(library, trees);
  const known = trees.get(file.path);
  if (known?.value.file.text === file.text) return known;
  const parsed = parse(file);
  trees.set(file.path, parsed);
  return parsed;
}
const suffix = '.sora';

/**
 * The project path that an import in `fromPath` means; undefined when it leaves the project. Libraries are their own path.
 */
export function resolveImportPath(fromPath: string, imported: string): string | undefined {
  if (imported.startsWith(libraryPrefix)) return imported;
  const folder = fromPath.startsWith(libraryPrefix) ? [] : fromPath.split('/').slice(0, -1);
  const parts = folder.filter((part) => part !== '.');
  for (const part of imported.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length === 0 || parts.at(-1) === '..') return undefined;
    else parts.pop();
  }
  return parts.join('/');
}

/** What is wrong with the text of an import path itself. */
function pathMistake(fromPath: string, statement: Import): Diagnostic | undefined {
  const { text, span } = statement.from;
  if (text.startsWith(libraryPrefix)) return undefined;
  if (text.startsWith('/') || text.includes('\\') || /^[A-Za-z]:/.test(text) || text.includes('\0')) {
    return diagnose('SORA1012', `\`${text}\` is not a path inside the project`, span, {
      help: 'write a path relative to this file with forward slashes, as `"./blocks.sora"`',
    });
  }
  if (resolveImportPath(fromPath, text) === undefined) {
    return diagnose('SORA1012', `\`${text}\` leaves the project`, span, {
      help: 'imports stay in the folder of the project; copy the file into it',
    });
  }
  if (!text.endsWith(suffix) && !text.includes('/')) {
    return diagnose('SORA1010', `\`${text}\` is no \`.sora\` file`, span, {
      help: `a file is written \`"./name${suffix}"\`, the library \`"sora:nn"\``,
    });
  }
  if (!text.endsWith(suffix)) {
    return diagnose('SORA1010', `\`${text}\` is no \`.sora\` file`, span, {
      help: `did you mean \`${text}${suffix}\`?`,
      fixes: [{ title: `import \`${text}${suffix}\``, edits: [{ span, text: `"${text}${suffix}"` }] }],
    });
  }
  if (fromPath.startsWith(libraryPrefix)) {
    return diagnose('SORA1012', 'a library imports only libraries', span);
  }
  return undefined;
}

/** Path of `target` as an import in `fromPath` writes it. */
function relativePath(fromPath: string, target: string): string {
  if (target.startsWith(libraryPrefix)) return target;
  const from = fromPath.split('/').slice(0, -1);
  const to = target.split('/');
  let common = 0;
  while (common < from.length && common < to.length - 1 && from[common] === to[common]) common++;
  const up = from.slice(common).map(() => '..');
  return [...(up.length === 0 ? ['.'] : up), ...to.slice(common)].join('/');
}

function notFound(host: ImportHost, fromPath: string, statement: Import, path: string): Diagnostic {
  const { text, span } = statement.from;
  const libraries = [...(host.library?.keys() ?? [])];
  const candidates = [...libraries, ...(host.listFiles?.() ?? []).map((file) => relativePath(fromPath, file))];
  const near = closest(text, candidates);
  const known =
    libraries.length === 0 ? undefined : `the libraries are ${libraries.map((name) => `\`${name}\``).join(', ')}`;
  const help = near === undefined ? (text.startsWith(libraryPrefix) ? known : undefined) : `did you mean \`${near}\`?`;
  const message = text.startsWith(libraryPrefix) ? `there is no library \`${text}\`` : `there is no file \`${path}\``;
  return diagnose('SORA1010', message, span, {
    ...(help === undefined ? {} : { help }),
    ...(near === undefined ? {} : { fixes: [{ title: `import \`${near}\``, edits: [{ span, text: `"${near}"` }] }] }),
  });
}

/** All syntax trees of a compilation, imported files before their importers, the given file last. */
export function resolveImports(file: SourceFile, host: ImportHost): Stage<readonly SourceTree[]> {
  const diagnostics: Diagnostic[] = [];
  const trees: SourceTree[] = [];
  const done = new Set<string>();
  /** Files being read, outermost first, with the import that led from each to the next. */
  const path: { readonly file: SourceFile; statement?: Import }[] = [];

  const reportCycle = (target: string, statement: Import): void => {
    const start = path.findIndex((step) => step.file.path === target);
    const steps = path.slice(start);
    const circle = [...steps.map((step) => step.file.path), target].map((name) => `\`${name}\``).join(' → ');
    const labels = steps
      .slice(0, -1)
      .flatMap((step) =>
        step.statement === undefined ? [] : [{ span: step.statement.from.span, text: 'which is imported here' }],
      );
    diagnostics.push(
      diagnose('SORA1011', 'files import each other in a circle', statement.from.span, {
        labels,
        notes: [circle],
        help: 'move what both need into a third file',
      }),
    );
  };

  const visit = (source: SourceFile): void => {
    const parsed = host.library?.get(source.path) === source.text ? parseLibrary(host.library, source) : parse(source);
    diagnostics.push(...parsed.diagnostics);
    const step: { readonly file: SourceFile; statement?: Import } = { file: source };
    path.push(step);
    for (const statement of parsed.value.imports) {
      step.statement = statement;
      visitImport(source, statement);
    }
    path.pop();
    done.add(source.path);
    trees.push(parsed.value);
  };

  const visitImport = (source: SourceFile, statement: Import): void => {
    // A path without its closing quote is one mistake, and nobody knows where it was to end.
    const written = spanText(statement.from.span);
    if (written.startsWith('"') && !(written.length > 1 && written.endsWith('"'))) return;
    const mistake = pathMistake(source.path, statement);
    const target = resolveImportPath(source.path, statement.from.text);
    if (mistake !== undefined || target === undefined) {
      if (mistake !== undefined) diagnostics.push(mistake);
      return;
    }
    if (path.some((step) => step.file.path === target)) {
      reportCycle(target, statement);
      return;
    }
    if (done.has(target)) return;
    const span = statement.from.span;
    if (path.length >= limits.importDepth) {
      const message = `imports are more than ${limits.importDepth} files deep`;
      diagnostics.push(diagnose('SORA1008', message, span));
      return;
    }
    if (done.size + path.length >= limits.files) {
      diagnostics.push(diagnose('SORA1008', `more than ${limits.files} files in one compilation`, span));
      return;
    }
    const text = host.library?.get(target) ?? host.readFile(target);
    if (text === undefined) {
      diagnostics.push(notFound(host, source.path, statement, target));
      return;
    }
    visit({ path: target, text });
  };

  visit(file);
  return { value: trees, diagnostics };
}
