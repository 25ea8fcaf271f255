/**
 * CSV, JSON Lines, Parquet, safetensors and text: the same rows in any order, and a file, a line and a code for each mistake.
 */
import fc from 'fast-check';
import { parquetWriteBuffer } from 'hyparquet-writer';
import { describe, expect, test } from 'vitest';
import { encodeSafetensors } from '../../../src/runtime/safetensors.ts';
import { openDataset } from '../../../src/training/datasets/open.ts';
import { fails, fileWith, folderWith, rowsOf } from './kit.ts';

const open = (name: string, content: string | Uint8Array) => openDataset(fileWith(name, content));

describe('csv', () => {
  test('quotes, commas, line ends and a byte order mark; kinds of columns', async () => {
    const text = '\uFEFFtext,label,score\r\n"a, ""b""\r\nc é",1,0.5\r\n\r\nplain,-2,1e-3\r\n';
    const data = await open('a.csv', text);
    expect([...data.columns]).toEqual([
      ['text', 'text'],
      ['label', 'integer'],
      ['score', 'number'],
    ]);
    expect(await rowsOf(data)).toEqual([
      { text: 'a, "b"\r\nc é', label: 1, score: 0.5 },
      { text: 'plain', label: -2, score: 1e-3 },
    ]);
    expect(data.where(0)).toMatch(/a\.csv` line 2$/);
    await data.close();
  });

  test('tabs, no line end at the end, a header from outside', async () => {
    expect(await rowsOf(await open('a.tsv', 'x\ty\n1\tb,c'))).toEqual([{ x: 1, y: 'b,c' }]);
    const path = fileWith('a.csv', '\uFEFF1,2\n3,4\n');
    expect(await rowsOf(await openDataset(path, { csv: { header: ['x', 'y'] } }))).toEqual([
      { x: 1, y: 2 },
      { x: 3, y: 4 },
    ]);
  });

  test('a missing number is undefined, the same words are text in a column of text', async () => {
    const rows = await rowsOf(await open('a.csv', 'x,y\nNaN,na\n,b\ninf,\n2,c\n'));
    expect(rows).toEqual([
      { x: undefined, y: 'na' },
      { x: undefined, y: 'b' },
      { x: undefined, y: '' },
      { x: 2, y: 'c' },
    ]);
  });

  test.each([
    ['a,b\n1,2\n3\n', 'SORA7031', '`a.csv` line 3: another number of cells'],
    ['a,b\n1,2,3\n', 'SORA7031', '`a.csv` line 2: another number of cells'],
    ['a,b\n1,"x\n\n', 'SORA7031', 'a quote that is never closed'],
    ['a,b\n1,x"y\n', 'SORA7031', '`a.csv` line 2: a quote in the middle'],
    ['a,b\n"x"y,1\n', 'SORA7031', '`a.csv` line 2: text after the closing quote'],
    ['a,a\n1,2\n', 'SORA7031', '`a.csv` line 1: two columns with the name `a`'],
    ['', 'SORA7038', '`a.csv`: the file is empty'],
    ['\n\n', 'SORA7038', '`a.csv`: the file is empty'],
    ['a,b\n', 'SORA7038', 'only a line with names'],
    ['a,b\n1,\0\n', 'SORA7037', '`a.csv` line 2: a zero byte'],
  ])('%j is refused', (text, code, message) => fails(() => open('a.csv', text), code, message));

  test.each([
    [Uint8Array.of(0x61, 0x0a, 0x62, 0x0a, 0xe9, 0x0a), '`a.csv` line 3: bytes that are not UTF-8'],
    [Uint8Array.of(0x61, 0x0a, 0x62, 0x0a, 0xc3), '`a.csv` line 3: it ends inside of a character'],
    [Uint8Array.of(0xff, 0xfe, 0x61, 0x00), '`a.csv` line 1: it is UTF-16'],
  ])('other encodings', (bytes, message) => fails(() => open('a.csv', bytes), 'SORA7037', message));

  test('any cells come back from any place, over the borders of chunks', async () => {
    const cell = fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 12 }),
      fc.constantFrom('"', ',', '\n', '\r\n', '""', 'é'),
    );
    const tables = fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 20 });
    const quote = (text: string, always: boolean): string =>
      always || /["\r\n,]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    await fc.assert(
      fc.asyncProperty(tables, fc.constantFrom('\n', '\r\n'), fc.boolean(), async (table, end, always) => {
        const kept = table.map((row) => row.map((text) => text.replaceAll('\0', '')));
        // A long row before makes the table begin near a border of the reader's chunks.
        const long = 'x'.repeat(1024 * 1024 - 20);
        const lines = ['p,q', `${long},z`, ...kept.map((row) => row.map((text) => quote(text, always)).join(','))];
        const data = await open('a.csv', lines.join(end) + end);
        for (let at = kept.length; at >= 1; at--) {
          const row = await data.row(at);
          expect([...row.values()].map(String)).toEqual(
            kept[at - 1]?.map((text, column) =>
              data.columns.get(column === 0 ? 'p' : 'q') === 'text' ? text : String(Number(text)),
            ),
          );
        }
        await data.close();
      }),
      { numRuns: 40 },
    );
  });
});

describe('json lines', () => {
  test('strings, numbers, lists and what is missing', async () => {
    const lines = [
      '\uFEFF{"text":"a\\nb","ids":[1,2],"ok":true,"x":0.5}',
      '',
      '{"text":"c","ids":[[3]],"ok":false,"meta":{"a":1}}\r',
    ];
    const data = await open('a.jsonl', lines.join('\n'));
    expect(Object.fromEntries(data.columns)).toEqual({
      text: 'text',
      ids: 'tensor',
      ok: 'integer',
      x: 'number',
      meta: 'other',
    });
    expect(await rowsOf(data)).toEqual([
      { text: 'a\nb', ids: { shape: [2], data: Int32Array.of(1, 2) }, ok: 1, x: 0.5, meta: undefined },
      { text: 'c', ids: { shape: [1, 1], data: Int32Array.of(3) }, ok: 0, x: undefined, meta: undefined },
    ]);
    expect(data.where(1)).toMatch(/line 3$/);
  });

  test.each([
    ['{"a":1}\n{"a":\n', 'SORA7032', '`a.jsonl` line 2: it is not JSON'],
    ['[1]\n', 'SORA7032', '`a.jsonl` line 1: every line must be an object'],
    ['{"a":1}\nnull\n', 'SORA7032', '`a.jsonl` line 2: every line must be an object'],
    ['', 'SORA7038', 'no rows'],
    ['{"a":"\0"}', 'SORA7037', 'line 1: a zero byte'],
  ])('%j is refused', (text, code, message) => fails(() => open('a.jsonl', text), code, message));

  test.each([
    ['{"a":[[1,2],[3]]}', 'lists of different lengths'],
    ['{"a":[1,null]}', 'a list with null in it'],
    ['{"a":[1,"b"]}', 'a list with string in it'],
    ['{"a":[1e999]}', 'NaN or infinity'],
    [`{"a":${'['.repeat(9)}1${']'.repeat(9)}}`, 'more than 8 deep'],
  ])('%s is refused when it is read', async (text, message) => {
    const data = await open('a.jsonl', `{"a":[1]}\n${text}\n`);
    await fails(() => data.row(1), 'SORA7039', message);
  });

  test('a name from the prototype is a column like any other', async () => {
    const data = await open('a.jsonl', '{"__proto__":"x","constructor":1}\n{"b":2}\n');
    expect([...data.columns.keys()]).toEqual(['__proto__', 'constructor', 'b']);
    expect([...(await data.row(1)).values()]).toEqual([undefined, undefined, 2]);
    expect((await data.row(0)).get('__proto__')).toBe('x');
  });
});

describe('parquet', () => {
  const table = (rows: number, rowGroupSize = 7): Uint8Array =>
    new Uint8Array(
      parquetWriteBuffer({
        columnData: [
          { name: 'text', data: Array.from({ length: rows }, (_, at) => `row ${at} é`), type: 'STRING' },
          { name: 'label', data: Array.from({ length: rows }, (_, at) => BigInt(at)), type: 'INT64' },
          { name: 'score', data: Array.from({ length: rows }, (_, at) => at / 3), type: 'DOUBLE' },
        ],
        rowGroupSize,
      }),
    );

  test('rows of any group in any order', async () => {
    const data = await open('a.parquet', table(50));
    expect(Object.fromEntries(data.columns)).toEqual({ text: 'text', label: 'integer', score: 'number' });
    for (const at of [49, 0, 13, 14, 6, 7, 48]) {
      expect(Object.fromEntries(await data.row(at))).toEqual({ text: `row ${at} é`, label: at, score: at / 3 });
    }
    expect(data.where(13)).toMatch(/a\.parquet` row 14$/);
  });

  test('a file without its ending is known by its first bytes', async () => {
    expect((await open('table', table(3))).length).toBe(3);
  });

  test('cut or changed files end in an error with a code, never in another', async () => {
    const whole = table(50);
    await fails(() => open('a.parquet', whole.subarray(0, 100)), 'SORA7033', '`a.parquet`: no usable Parquet file');
    await fails(() => open('a.parquet', new Uint8Array(0)), 'SORA7033', 'no usable Parquet file');
    let refused = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const bytes = whole.slice();
      for (let hit = 0; hit < 4; hit++)
        bytes[(seed * 7919 + hit * 104729) % bytes.length] = (seed * 31 + hit * 17) % 256;
      try {
        const data = await open('a.parquet', bytes);
        for (let at = 0; at < Math.min(data.length, 60); at += 5) await data.row(at);
      } catch (error) {
        refused++;
        expect((error as { code?: string }).code, `seed ${seed}: ${error}`).toMatch(/^SORA70(?:33|38|39)$/);
      }
    }
    expect(refused).toBeGreaterThan(20);
  });
});

describe('safetensors', () => {
  test('items along the first axis', async () => {
    const file = encodeSafetensors([
      { name: 'x', shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
      { name: 'y', shape: [3], data: Int32Array.of(7, 8, 9) },
    ]);
    const data = await open('a.safetensors', file);
    expect(Object.fromEntries(await data.row(2))).toEqual({ x: { shape: [2], data: Float32Array.of(5, 6) }, y: 9 });
    await data.close();
  });

  test('different lengths are refused', () => {
    const file = encodeSafetensors([
      { name: 'x', shape: [2], data: Float32Array.of(1, 2) },
      { name: 'y', shape: [3], data: Float32Array.of(7, 8, 9) },
    ]);
    return fails(() => open('a.safetensors', file), 'SORA7041', '`x` is [2], `y` is [3]');
  });
});

describe('text', () => {
  test('files are pieces of one stream', async () => {
    const folder = folderWith({ 'b.txt': 'zwei\r\n', 'a.txt': '\uFEFFeins', '.hidden.txt': 'x' });
    const data = await openDataset(folder);
    expect([data.isStream, data.length]).toEqual([true, 2]);
    expect(await rowsOf(data)).toEqual([{ text: 'eins' }, { text: 'zwei\r\n' }]);
  });

  test('with subfolders they are documents with labels', async () => {
    const folder = folderWith({ 'train/pos/1.txt': 'gut', 'train/neg/2.txt': 'schlecht\n', 'test/neg/3.txt': 'x' });
    const data = await openDataset(folder);
    expect([data.isStream, await rowsOf(data)]).toEqual([
      false,
      [
        { text: 'schlecht\n', label: 'neg', file: 'neg/2.txt' },
        { text: 'gut', label: 'pos', file: 'pos/1.txt' },
      ],
    ]);
  });

  test('empty and binary files are refused', async () => {
    await fails(() => open('a.txt', ' \n'), 'SORA7038', 'empty');
    await fails(() => open('a.txt', Uint8Array.of(65, 10, 0xff)), 'SORA7037', '`a.txt` line 2');
  });
});

describe('which format', () => {
  test('parts of a folder, shards of a part', async () => {
    const folder = folderWith({
      'train-00000-of-00002.csv': 'x\n1\n2\n',
      'train-00001-of-00002.csv': 'x\n3\n',
      'test.csv': 'x\n4\n',
    });
    expect(await rowsOf(await openDataset(folder))).toEqual([{ x: 1 }, { x: 2 }, { x: 3 }]);
    expect(await rowsOf(await openDataset(folder, { part: 'test' }))).toEqual([{ x: 4 }]);
    await fails(() => openDataset(folder, { part: 'validation' }), 'SORA7030', 'only train, test');
  });

  test('shards with other columns are refused', () => {
    const folder = folderWith({ 'a.csv': 'x\n1\n', 'b.csv': 'y\n1\n' });
    return fails(() => openDataset(folder), 'SORA7040', '`b.csv`: has a column `y`, unlike');
  });

  test('what cannot be told is asked for', async () => {
    await fails(() => open('a.zip', 'PK'), 'SORA7030', 'does not say which format');
    await fails(() => openDataset(folderWith({ 'a.zip': '' })), 'SORA7030', 'without files of a known format');
    await fails(() => openDataset(folderWith({ 'a.csv': 'x\n1', 'b.jsonl': '{}' })), 'SORA7030', 'several formats');
    await fails(() => openDataset('no-such-folder/a.csv'), 'SORA7001', 'there is no such file');
    const format = 'cvs' as 'csv';
    await fails(() => openDataset(fileWith('a.dat', 'x\n1\n'), { format }), 'SORA7030', 'there is no format `cvs`');
    expect((await openDataset(fileWith('a.dat', 'x\n1\n'), { format: 'csv' })).length).toBe(1);
  });

  test.each(['a.csv', 'a.tsv', 'a.jsonl', 'a.parquet', 'a.safetensors', 'a.txt', 'a-idx3-ubyte', 'a-idx3-ubyte.gz'])(
    'garbage named %s ends in an error with a code',
    async (name) => {
      for (let seed = 1; seed <= 60; seed++) {
        const bytes = Uint8Array.from(
          { length: (seed * 37) % 400 },
          (_, at) => Math.imul(seed * 7919 + at, 2654435761) >>> 24,
        );
        const error: unknown = await open(name, bytes).then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error !== undefined) expect((error as { code?: string }).code, `seed ${seed}: ${error}`).toMatch(/^SORA7/);
      }
    },
  );
});
