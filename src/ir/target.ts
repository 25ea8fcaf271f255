/**
 * Device profiles, as far as graph passes need to know them. Schedules are codegen's.
 */

/** `software`: CPU drivers (lavapipe, SwiftShader, WARP). `gpu`: everything else. */
export type ProfileName = 'software' | 'gpu';

export const profileNames: readonly ProfileName[] = ['software', 'gpu'];
