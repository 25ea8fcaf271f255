/**
 * The table of diagnostic codes: one line per code. `docs/errors/` gets a page per code.
 */
import type { Severity } from './diagnostic.ts';

interface CodeInfo {
  readonly severity: Severity;
  readonly title: string;
}

const error = (title: string): CodeInfo => ({ severity: 'error', title });
const warning = (title: string): CodeInfo => ({ severity: 'warning', title });

export const codes = {
  // 0xxx: the command line (src/cli)
  SORA0001: error('wrong command line'),
  SORA0002: error('the machine lacks something'),
  // … and `compileModule` (src/compile-module.ts)
  SORA0003: error('wrong option of `compileModule`'),

  // 1xxx: text and syntax (src/parser)
  SORA1001: error('unexpected character'),
  SORA1002: error('syntax error'),
  SORA1003: error('string without end'),
  SORA1004: error('bad escape in a string'),
  SORA1005: error('bad number'),
  SORA1006: error('character that changes the direction of text'),
  SORA1007: error('brackets do not match'),
  SORA1008: error('source beyond a limit'),
  SORA1010: error('import not found'),
  SORA1011: error('import cycle'),
  SORA1012: error('import outside the project'),
  SORA1013: error('unknown type name'),

  // 2xxx: names, types and shapes (src/ir/lower)
  SORA2001: error('unknown name'),
  SORA2002: error('declared twice'),
  SORA2003: error('not in the imported file'),
  SORA2004: error('no such member'),
  SORA2005: error('field absent under this config'),
  SORA2006: error('wrong kind of value'),
  SORA2007: error('wrong arguments'),
  SORA2008: error('endless recursion'),
  SORA2009: error('two weights with one name'),
  SORA2010: error('which model'),
  SORA2011: error('no entry'),
  SORA2101: error('dims do not match'),
  SORA2102: error('wrong rank'),
  SORA2103: error('wrong element type'),
  SORA2104: error('result differs from its declaration'),
  SORA2105: error('shapes do not broadcast'),
  SORA2106: error('index out of range'),
  SORA2107: error('a repeated module changes the type of what it passes on'),
  SORA2108: error('heads do not divide the width'),
  SORA2109: error('operand does not fit'),
  SORA2110: error('mask does not fit'),
  SORA2111: error('unknown attention modifier'),
  SORA2112: error('tie that does not fit'),
  SORA2113: error('pattern of axes'),
  SORA2114: error('function in the wrong place'),
  SORA2115: error('modifier does not fit'),
  SORA2116: error('modifiers that do not go together'),
  SORA2117: error('score function that looks beyond its score'),
  SORA2118: error('initializer that does not fit'),
  SORA2120: error('state does not fit'),
  SORA2121: error('one state for two attentions'),
  SORA2122: error('more positions than a state holds'),
  SORA2123: error('states that differ'),
  SORA2124: error('state whose numbers fill no whole words'),
  SORA2201: error('config value missing'),
  SORA2202: error('config value of the wrong type'),
  SORA2203: error('not known when compiling'),
  SORA2204: error('not a usable number'),
  SORA2205: error('refused by the model'),
  SORA2206: error('dim range'),
  SORA2301: error('unknown word in a use block'),
  SORA2302: error('selects no weights'),
  SORA2303: error('unknown method in a use block'),
  SORA2304: error('value that does not fit a use block'),
  SORA2305: error('incomplete use block'),
  SORA2306: error('entry that cannot generate'),
  SORA2307: error('no logits to generate from'),
  SORA2308: error('tokens that do not come one by one'),
  SORA2309: error('generation without a state'),
  SORA2310: error('what cannot be trained'),
  SORA2311: error('units that cannot be taken out'),
  SORA2312: error('no units in this part'),
  SORA2313: error('share that leaves none or all'),

  // 3xxx: lints
  SORA3001: warning('unused declaration'),
  SORA3002: warning('sparsity that is not packed'),
  SORA3003: warning('formats without an effect'),

  // 4xxx: graph passes (src/passes)
  SORA4001: error('no kernel for an operation'),
  SORA4002: error('a kernel reads too many buffers'),

  // 5xxx: code generation and limits
  SORA5001: error('not supported'),
  SORA5002: error('model beyond a limit'),

  // 6xxx: devices, inputs and calls (src/runtime; its errors are thrown, see src/runtime/error.ts)
  SORA6001: error('no device'),
  SORA6002: error('used after close'),
  SORA6003: error('wrong option of `load`'),
  SORA6004: error('beyond a limit of the device'),
  SORA6005: error('the device is out of memory'),
  SORA6006: error('the device refuses a kernel'),
  SORA6011: error('wrong inputs'),
  SORA6012: error('input of the wrong element type'),
  SORA6013: error('input of the wrong shape'),
  SORA6014: error('input value out of range'),
  SORA6015: error('a session is needed'),
  SORA6016: error('session full'),
  SORA6017: error('batch of another size'),
  SORA6018: error('wrong option of a session or a call'),
  SORA6019: error('no states'),
  SORA6020: error('wrong option of `generate`'),
  SORA6021: error('tokens that cannot start a text'),
  SORA6022: error('nothing generates'),
  SORA6031: error('nothing trains'),
  SORA6032: error('wrong option of a trainer'),
  SORA6033: error('a step that is not finite'),
  SORA6034: error('checkpoint of another training'),
  SORA6101: error('device lost'),
  SORA6102: error('call failed on the device'),

  // 7001 to 7099: files with tensors (src/runtime)
  SORA7001: error('file cannot be read'),
  SORA7002: error('safetensors: impossible header length'),
  SORA7003: error('safetensors: header is not JSON'),
  SORA7004: error('safetensors: one name twice'),
  SORA7005: error('safetensors: impossible tensor'),
  SORA7006: error('safetensors: offsets do not fit'),
  SORA7007: error('file ended while it was read'),
  SORA7008: error('safetensors: header beyond the limit'),
  SORA7009: error('safetensors: bad metadata'),
  SORA7010: error('unusable index of shards'),
  // Foreign weights (src/cli/convert) and tokenizers (src/text)
  SORA7011: error('format that cannot be converted'),
  SORA7012: error('llama2.c: impossible header'),
  SORA7013: error('llama2.c: length does not fit the header'),
  SORA7014: error('ONNX: malformed file'),
  SORA7015: error('ONNX: impossible initializer'),
  SORA7016: error('ONNX: weights of a kind that cannot be converted'),
  SORA7017: error('two converted tensors with one name'),
  SORA7018: error('unusable tokenizer'),
  SORA7019: error('unusable chat template'),
  SORA7021: error('file cannot be written'),
  // 7030 to 7049: data and checkpoints of a training run (src/training)
  SORA7030: error('no dataset of a known format'),
  SORA7031: error('CSV: malformed file'),
  SORA7032: error('JSON Lines: malformed file'),
  SORA7033: error('Parquet: malformed file'),
  SORA7034: error('IDX: malformed file'),
  SORA7035: error('unusable image'),
  SORA7036: error('unusable sound'),
  SORA7037: error('text that is not UTF-8'),
  SORA7038: error('dataset without rows'),
  SORA7039: error('cell that does not fit'),
  SORA7040: error('column missing'),
  SORA7041: error('tensors that are not columns'),
  SORA7042: error('impossible split or batch'),
  SORA7043: error('label not known'),
  SORA7044: error('no checkpoint of a run'),
  SORA7045: error('damaged checkpoint of a run'),
  // 7060 to 7069: `sorac train` (src/cli/train)
  SORA7060: error('input that cannot be read'),
  SORA7061: error('no tokenizer'),
  SORA7062: error('checkpoint of another run'),
  SORA7063: error('more classes than scores'),

  // 7101 to 7199: program text and reference interpreter (src/ir)
  SORA7101: error('malformed program text'),
  SORA7102: error('an input does not fit its parameter'),
  SORA7103: error('a tensor has another shape than stated'),
  SORA7104: error('no such entry'),
  // 7201 to 7299: a checkpoint against a model (src/cli, src/runtime)
  SORA7201: error('weight missing in the checkpoint'),
  SORA7202: error('weight of the wrong shape'),
  SORA7203: error('weight of a type that cannot be loaded'),
  SORA7204: error('value that does not fit its type'),
  SORA7205: error('tensor that the model does not use'),
  SORA7206: error('packed weight of another number format'),

  // A bug of ours
  SORA9999: error('internal error'),
} as const satisfies Record<string, CodeInfo>;

export type Code = keyof typeof codes;
