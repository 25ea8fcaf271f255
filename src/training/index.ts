/**
 * Data of a training run: datasets, batches, metrics, TensorBoard events and checkpoints. For Node; generated modules carry
 * nothing of it.
 */
export { type Batch, type Batches, type BatchOptions, batchesOf } from './batches.ts';
export { type CharacterTokenizer, characterTokenizer } from './characters.ts';
export {
  type CheckpointKind,
  type Checkpoints,
  type CheckpointTensor,
  type FoundCheckpoint,
  findCheckpoint,
  openCheckpoints,
  type RunState,
  readRunState,
} from './checkpoints.ts';
export type { CsvOptions } from './datasets/csv.ts';
export {
  type ColumnKind,
  concatenate,
  type Dataset,
  type Row,
  selectRows,
  type TensorValue,
  type Value,
} from './datasets/dataset.ts';
export type { SoundOptions } from './datasets/folders.ts';
export type { ImageOptions } from './datasets/images.ts';
export {
  type DatasetFormat,
  type DatasetOptions,
  type DatasetPart,
  datasetFormats,
  datasetParts,
  openDataset,
  partsOf,
} from './datasets/open.ts';
export { type EventFile, type EventFileOptions, openEventFile } from './events.ts';
export {
  type BatchContext,
  type Field,
  ignoredLabel,
  labelField,
  type PaddingOptions,
  type TensorFieldOptions,
  tensorField,
} from './fields.ts';
export { type LabelMap, labelMap, labelsOf } from './labels.ts';
export { type Metrics, type MetricsCounter, metricsCounter } from './metrics.ts';
export { type Split, type SplitOptions, splitDataset, splitTokens } from './split.ts';
export { tokenStream, type WindowOptions, windowBatches } from './streams.ts';
export { type MaskedTextFieldOptions, maskedTextField, type TextFieldOptions, textField } from './text-fields.ts';
