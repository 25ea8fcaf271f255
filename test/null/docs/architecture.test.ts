/**
 * The architecture page walks along files: each that it names is there.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const page = readFileSync(`${root}/docs/architecture.md`, 'utf8');
const names = [...page.matchAll(/`([^`\s]+)`/g)].map((match) => match[1] ?? '');
const sources = readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' });

test('paths and file names of the page exist', () => {
  const paths = names.filter((name) => /^(src|models|docs|test|examples|scripts|bench|grammar)\//.test(name));
  expect(paths.length).toBeGreaterThan(20);
  expect(paths.filter((path) => !existsSync(`${root}/${path}`))).toEqual([]);
  const files = names.filter((name) => /^[\w-]+\.ts$/.test(name));
  expect(files.length).toBeGreaterThan(20);
  expect(files.filter((name) => !sources.some((path) => path.endsWith(`/${name}`) || path === name))).toEqual([]);
});
