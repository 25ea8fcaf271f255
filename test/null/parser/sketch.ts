/**
 * Trees as short text, with every bracket that precedence implies: what the parser tests compare.
 */
import type { Argument, Expression, IndexItem, SourceTree, TensorTypeSyntax } from '../../../src/parser/ast.ts';

function sketchArgument(argument: Argument): string {
  const value = sketch(argument.value);
  return argument.name === undefined ? value : `${argument.name.text}: ${value}`;
}

function sketchItem(item: IndexItem): string {
  if (item.kind === 'at') return sketch(item.index);
  if (item.kind === 'new') return 'new';
  if (item.kind === 'ellipsis') return '...';
  return `${item.start ? sketch(item.start) : ''}:${item.end ? sketch(item.end) : ''}`;
}

export function sketch(expression: Expression): string {
  switch (expression.kind) {
    case 'number':
      return expression.isInteger ? String(expression.value) : `${expression.value}f`;
    case 'string':
      return JSON.stringify(expression.value);
    case 'boolean':
      return String(expression.value);
    case 'name':
      return expression.name;
    case 'member':
      return `${sketch(expression.object)}.${expression.member.text}`;
    case 'call':
      return `${sketch(expression.callee)}(${expression.arguments.map(sketchArgument).join(', ')})`;
    case 'index':
      return `${sketch(expression.object)}[${expression.items.map(sketchItem).join(', ')}]`;
    case 'unary':
      return `(${expression.operator} ${sketch(expression.operand)})`;
    case 'binary':
      return `(${sketch(expression.left)} ${expression.operator} ${sketch(expression.right)})`;
    case 'list':
      return `[${expression.items.map(sketch).join(', ')}]`;
    case 'record':
      return `{${expression.fields.map(sketchArgument).join(', ')}}`;
    case 'if': {
      const otherwise = expression.otherwise === undefined ? '' : ` else ${sketch(expression.otherwise)}`;
      return `if ${sketch(expression.condition)} ${sketch(expression.then)}${otherwise}`;
    }
    case 'block': {
      const lets = expression.lets.map((item) => {
        const names = item.names.map((name) => name.text).join(', ');
        return `let ${item.isList ? `[${names}]` : names} = ${sketch(item.value)}; `;
      });
      return `<${lets.join('')}${sketch(expression.result)}>`;
    }
    case 'attend': {
      const operands = [expression.query, expression.key, expression.value].map(sketch).join(', ');
      return `attend(${operands}){${expression.modifiers.map(sketchArgument).join(', ')}}`;
    }
    case 'lambda':
      return `(${expression.parameters.map(({ text }) => text).join(', ')}) => ${sketch(expression.body)}`;
    case 'missing':
      return '?';
  }
}

export function sketchType(type: TensorTypeSyntax): string {
  if (type.dims.length === 0) return type.dtype.text;
  return `${type.dtype.text}[${type.dims.map((dim) => (dim.kind === 'ellipsis' ? '...' : sketch(dim))).join(', ')}]`;
}

/** The tree without places: two texts that say the same give the same value. */
export function withoutSpans(tree: SourceTree): unknown {
  return JSON.parse(
    JSON.stringify(tree, (key, value: unknown) =>
      key === 'file' || key === 'span' || key.endsWith('Span') ? undefined : value,
    ),
  );
}
