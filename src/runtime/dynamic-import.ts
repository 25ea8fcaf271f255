/**
 * Imports that must stay out of bundles: Node's own modules and packages that may be missing. The specifier is a value, so
 * bundlers leave it alone and a module made by sorac has no static import.
 */
export async function importByName<Module>(name: string): Promise<Module> {
  return (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as Module;
}

export function isNode(): boolean {
  return typeof process === 'object' && typeof process.versions?.node === 'string';
}
