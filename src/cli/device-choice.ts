/**
 * The `--device` option, the same in every command that runs something.
 */
import { Option } from 'commander';
import { usageError } from './exit-codes.ts';

export const deviceChoices = ['auto', 'gpu', 'lavapipe', 'swiftshader', 'cpu'] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

export function deviceChoice(text: string): DeviceChoice {
  const choice = deviceChoices.find((known) => known === text);
  if (choice === undefined)
    throw usageError(`the device \`${text}\` is not known`, `one of ${deviceChoices.join(', ')}`);
  return choice;
}

export function deviceOption(): Option {
  return new Option('--device <device>', 'where to run').choices([...deviceChoices]).default('auto');
}
