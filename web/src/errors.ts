/** Everything that can be wrong with a file, its weights or the place they come from; one line each. */
export class OneDCError extends Error {
  override name: Kind = "OneDCError";
}

/** A file that is no .1dc file, is damaged, or needs another model. */
export class FormatError extends OneDCError {
  override name: Kind = "FormatError";
}

/** A weights file that is missing, damaged or of another kind. */
export class WeightsError extends OneDCError {
  override name: Kind = "WeightsError";
}

export type Kind = "OneDCError" | "FormatError" | "WeightsError";

/** An error of a kind, as it was in another thread. */
export function errorOf(kind: Kind, line: string): OneDCError {
  return new { OneDCError, FormatError, WeightsError }[kind](line);
}

/** What went wrong, on one line. */
export function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(/\s+/).join(" ").trim();
}
