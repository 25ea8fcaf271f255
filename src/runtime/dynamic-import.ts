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

/** A generated module may lie outside of the project that has the package: the working directory counts too. */
export async function importFromHereOrProject<Module>(name: string): Promise<Module> {
  try {
    return await importByName<Module>(name);
  } catch (error) {
    const { createRequire } = await importByName<typeof import('node:module')>('node:module');
    const { join } = await importByName<typeof import('node:path')>('node:path');
    const { pathToFileURL } = await importByName<typeof import('node:url')>('node:url');
    let path: string;
    try {
      path = createRequire(join(process.cwd(), 'package.json')).resolve(name);
    } catch {
      throw error;
    }
    return importByName<Module>(pathToFileURL(path).href);
  }
}
