/**
 * Arguments to parameters, for functions, modules and built-ins alike: by position first, then by name.
 */
import type { Argument, Identifier } from '../../parser/ast.ts';
import type { Span } from '../../support/source.ts';
import type { Binding } from './binding.ts';
import { type Context, report } from './context.ts';
import { evaluate } from './expressions.ts';
import { nearMember } from './names.ts';
import type { Scope } from './scope.ts';
import { originOfExpression } from './typing.ts';

export interface EvaluatedArgument {
  readonly name: Identifier | undefined;
  /** Integers remember where they were written. */
  readonly binding: Binding;
  readonly span: Span;
}

export function evaluateArguments(
  context: Context,
  written: readonly Argument[],
  scope: Scope,
): readonly EvaluatedArgument[] {
  return written.map((argument) => {
    const binding = evaluate(context, argument.value, scope);
    const marked: Binding =
      binding.kind === 'int' ? { ...binding, origin: originOfExpression(argument.value, binding) } : binding;
    return { name: argument.name, binding: marked, span: argument.value.span };
  });
}

interface Target {
  readonly name: string;
  readonly required: boolean;
}

export interface Callee {
  /** `Linear`, for messages. */
  readonly name: string;
  readonly parameters: readonly Target[];
  /** Where it is declared; undefined for built-ins. */
  readonly span: Span | undefined;
}

/** One argument or undefined per parameter; undefined altogether when they do not fit (reported). */
export function matchArguments(
  context: Context,
  callee: Callee,
  given: readonly EvaluatedArgument[],
  span: Span,
): readonly (EvaluatedArgument | undefined)[] | undefined {
  const { parameters } = callee;
  const matched: (EvaluatedArgument | undefined)[] = parameters.map(() => undefined);
  const labels = callee.span === undefined ? [] : [{ span: callee.span, text: `\`${callee.name}\` is declared here` }];
  const signature = `${callee.name}(${parameters.map((parameter) => parameter.name).join(', ')})`;
  let failed = false;
  let position = 0;
  for (const argument of given) {
    let at = position;
    if (argument.name === undefined) {
      if (position >= parameters.length) {
        const count = given.filter((other) => other.name === undefined).length;
        report(
          context,
          'SORA2007',
          `\`${callee.name}\` takes ${parameters.length} arguments, found ${count}`,
          argument.span,
          {
            labels,
            help: `its parameters are \`${signature}\``,
          },
        );
        return undefined;
      }
      position += 1;
    } else {
      const name = argument.name.text;
      at = parameters.findIndex((parameter) => parameter.name === name);
      if (at < 0) {
        const near = nearMember(
          argument.name,
          parameters.map((parameter) => parameter.name),
        );
        report(context, 'SORA2007', `\`${callee.name}\` has no parameter \`${name}\``, argument.name.span, {
          labels,
          ...near,
        });
        failed = true;
        continue;
      }
    }
    if (matched[at]) {
      report(context, 'SORA2007', `\`${parameters[at]?.name}\` is given twice`, argument.span, {
        labels: [{ span: (matched[at] as EvaluatedArgument).span, text: 'first here' }],
      });
      failed = true;
    }
    matched[at] = argument;
  }
  const missing = parameters.filter((parameter, at) => parameter.required && matched[at] === undefined);
  if (missing.length > 0 && !failed) {
    const names = missing.map((parameter) => `\`${parameter.name}\``).join(', ');
    report(context, 'SORA2007', `\`${callee.name}\` needs ${names}`, span, {
      labels,
      help: `its parameters are \`${signature}\``,
    });
    return undefined;
  }
  return failed ? undefined : matched;
}
