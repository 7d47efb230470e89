// How long a page may hear nothing before it says so, and its words for that.

export const SILENT_MS = 10_000;

/** Seconds in steps of five, so that they are not read aloud one by one; from two minutes on minutes. */
export function silence(seconds) {
  const told = seconds < 120 ? `${5 * Math.floor(seconds / 5)} s` : `${Math.floor(seconds / 60)} min`;
  return `not live: nothing heard for ${told}`;
}
