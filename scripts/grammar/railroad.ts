/**
 * grammar/railroad.html: the grammar as diagrams. One page without scripts and without anything from elsewhere; the drawings are SVG
 * that is laid out here. A track enters a shape at its left on the main line and leaves it at its right.
 */
import { grammarRules, type Production, tokenClasses } from './productions.ts';

interface Shape {
  readonly width: number;
  /** Room above and below the main line. */
  readonly up: number;
  readonly down: number;
  /** SVG with the main line at `y`, from `x` to `x + width`. */
  draw(x: number, y: number): string;
}

const unit = 10;
const boxHeight = 24;
/** Advance of the monospaced font at 13 px; boxes have room to spare, so other fonts fit too. */
const letter = 8;

function escapeHtml(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
}

function line(...points: readonly (readonly [number, number])[]): string {
  return `<path d="${points.map(([x, y], at) => `${at === 0 ? 'M' : 'L'}${x} ${y}`).join('')}"/>`;
}

function box(text: string, kind: 'text' | 'rule' | 'token'): Shape {
  const width = Math.max(text.length * letter + 2 * unit, 3 * unit);
  return {
    width,
    up: boxHeight / 2,
    down: boxHeight / 2,
    draw(x, y) {
      const radius = kind === 'rule' ? 0 : boxHeight / 2;
      const body =
        `<rect class="${kind}" x="${x}" y="${y - boxHeight / 2}" width="${width}" height="${boxHeight}" rx="${radius}"/>` +
        `<text x="${x + width / 2}" y="${y + 4}">${escapeHtml(text)}</text>`;
      return kind === 'text' ? body : `<a href="#${escapeHtml(text)}">${body}</a>`;
    },
  };
}

function row(items: readonly Shape[]): Shape {
  const gaps = Math.max(items.length - 1, 0) * unit;
  return {
    width: items.reduce((sum, item) => sum + item.width, gaps),
    up: Math.max(unit, ...items.map((item) => item.up)),
    down: Math.max(unit, ...items.map((item) => item.down)),
    draw(x, y) {
      let at = x;
      return items
        .map((item, index) => {
          const joint = index === 0 ? '' : line([at, y], [at + unit, y]);
          const start = index === 0 ? at : at + unit;
          at = start + item.width;
          return joint + item.draw(start, y);
        })
        .join('');
    },
  };
}

/** Alternatives under each other; the first is on the main line. */
function stack(items: readonly Shape[]): Shape {
  const inner = Math.max(...items.map((item) => item.width));
  const width = inner + 4 * unit;
  const offsets: number[] = [];
  let below = 0;
  items.forEach((item, at) => {
    below = at === 0 ? 0 : below + item.up + unit;
    offsets.push(below);
    below += item.down;
  });
  return {
    width,
    up: items[0]?.up ?? unit,
    down: below,
    draw(x, y) {
      return items
        .map((item, at) => {
          const level = y + (offsets[at] ?? 0);
          const start = x + 2 * unit;
          const end = start + item.width;
          return (
            line([x, y], [x + unit, y], [x + unit, level], [start, level]) +
            item.draw(start, level) +
            line([end, level], [x + width - unit, level], [x + width - unit, y], [x + width, y])
          );
        })
        .join('');
    },
  };
}

/** The item with a way around it above the main line; `isLoop` adds a way back below. */
function bypass(item: Shape, isLoop: boolean): Shape {
  const width = item.width + 4 * unit;
  const rise = item.up + unit;
  const fall = item.down + unit;
  return {
    width,
    up: rise,
    down: isLoop ? fall : item.down,
    draw(x, y) {
      const [left, right] = [x + unit, x + width - unit];
      const around = line([left, y], [left, y - rise], [right, y - rise], [right, y]);
      const inner = [x + 2 * unit, x + width - 2 * unit] as const;
      const back = isLoop
        ? line([inner[1], y], [inner[1], y + fall], [inner[0], y + fall], [inner[0], y]) +
          arrow(x + width / 2, y + fall)
        : '';
      return line([x, y], [inner[0], y]) + item.draw(inner[0], y) + line([inner[1], y], [x + width, y]) + around + back;
    },
  };
}

function arrow(x: number, y: number): string {
  return line([x + 4, y - 4], [x - 4, y], [x + 4, y + 4]);
}

function shapeOf(production: Production): Shape {
  switch (production.kind) {
    case 'text':
      return box(production.text, 'text');
    case 'rule':
    case 'token':
      return box(production.name, production.kind);
    case 'sequence':
      return row(production.items.map(shapeOf));
    case 'choice':
      return stack(production.items.map(shapeOf));
    case 'optional':
      return bypass(shapeOf(production.item), false);
    case 'many':
      return bypass(shapeOf(production.item), true);
  }
}

function diagram(production: Production): string {
  const shape = shapeOf(production);
  const [width, height, y] = [shape.width + 6 * unit, shape.up + shape.down + 2 * unit, shape.up + unit];
  const ends =
    line([unit, y - 6], [unit, y + 6]) +
    line([unit, y], [3 * unit, y]) +
    line([3 * unit + shape.width, y], [5 * unit + shape.width, y]) +
    line([5 * unit + shape.width, y - 6], [5 * unit + shape.width, y + 6]);
  return `<svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">${ends}${shape.draw(3 * unit, y)}</svg>`;
}

const style = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
section { overflow-x: auto; }
h2 { font-size: 1rem; margin: 1.5rem 0 0; }
code, text { font-family: ui-monospace, Menlo, Consolas, monospace; }
text { font-size: 13px; text-anchor: middle; fill: #111; }
path { fill: none; stroke: #444; stroke-width: 1.5; }
rect { stroke: #444; stroke-width: 1.5; }
rect.text { fill: #e3f1e5; } rect.rule { fill: #e4ebf8; } rect.token { fill: #fbf0d9; }
`;

export function railroad(): string {
  const rules = grammarRules().map(
    ({ name, body }) => `<section id="${name}"><h2>${name}</h2>\n${diagram(body)}</section>\n`,
  );
  const classes = tokenClasses().map(({ name, pattern, members }) => {
    const written = pattern === '' ? '' : `<p><code>${escapeHtml(pattern)}</code></p>`;
    const choice: Production = { kind: 'choice', items: members.map((text) => ({ kind: 'text', text })) };
    return `<section id="${name}"><h2>${name}</h2>\n${written}${members.length === 0 ? '' : diagram(choice)}</section>\n`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>The grammar of .sora</title>
<style>${style}</style>
</head>
<body>
<!-- Made by scripts/make-grammar.mjs from src/parser. Do not edit. -->
<h1>The grammar of .sora</h1>
<p>Round green boxes are text of the language, square blue ones rules, yellow ones classes of tokens. What the diagrams cannot
say (the line rule, commas, precedence) stands in <code>sora.md</code> and at the top of <code>sora.ebnf</code>.</p>
${[...rules, ...classes].join('')}</body>
</html>
`;
}
