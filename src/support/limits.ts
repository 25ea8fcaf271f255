/**
 * Every cap on what the compiler accepts from a person's files, each with its reason. A cap is reported as a diagnostic
 * of the file that crosses it, never as a crash or a hang.
 */
export const limits = {
  /** UTF-16 code units of one source file. The largest hand-written model is under 100 kB; 4 Mi units parse in about a second. */
  sourceLength: 4 * 1024 * 1024,
  /** Brackets inside brackets. Parser and builder recurse once per level; 128 levels stay far from the smallest stack. */
  nesting: 128,
  /** Depth of one expression tree (`a + b + …` and `a.b.c…` grow it too): later stages recurse over it. */
  expressionDepth: 1000,
  /** Longest name: names become parts of WGSL identifiers and of file names. */
  identifierLength: 64,
  /** Files importing files: deeper chains are a mistake, and resolution recurses. */
  importDepth: 32,
  /** Source files of one compilation. */
  files: 256,
  /** Diagnostics shown in one run before "and n more". */
  diagnosticsShown: 20,
  /** Syntax errors kept for one file: text that is no `.sora` at all would give thousands. */
  syntaxErrors: 100,
  /** Copies that one `repeat` makes; the deepest published transformers have a few hundred layers. */
  repeatCount: 4096,
  /** Module instances and graph nodes after expansion, foreseen by multiplication before anything is expanded. */
  expandedNodes: 1_000_000,
  /** Calls that lowering elaborates: functions of numbers can double their calls without making a node. */
  elaboratedCalls: 50_000,
  /** Functions and modules inside each other while lowering: it recurses over them. */
  callDepth: 64,
  /** Expressions inside each other while lowering, over all calls that are open. */
  elaborationDepth: 1200,
  /** Axes of a tensor. */
  rank: 8,
  /** Greatest dim: kernels index with 32-bit integers. */
  dim: 2 ** 31 - 1,
  /** Elements of one tensor: kernels count them in 32 bits, and products of two such counts stay exact here. */
  elements: 2 ** 32 - 1,
} as const;
