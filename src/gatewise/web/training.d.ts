// Layers that the page runs, records and trains. T steps, B rows, I inputs, H units, P outputs; time first, the
// last axis moves fastest. All arrays belong to the page.

/** Arrays by the names of states, values or weights. */
export type Named = Record<string, Float32Array>;

/** Read the folder at `base`, by default that of this module: its layers with their weights. */
export function layers(base?: URL | string, options?: Options): Promise<Layer[]>;

/** The kernels that this browser runs best, and whether their bits are those of Python. */
export function simd(): { kind: "relaxed" | "plain"; sameBits: boolean };

/** Compile the kernels of a cell that Python has described; without backward and outer there are no gradients. */
export function kernels(
  about: object,
  code: Record<string, BufferSource | WebAssembly.Module>,
  options?: { kind?: "relaxed" | "plain" },
): Promise<Kernels>;

export interface Kernels {
  readonly cell: string;
  /** The names of the states; the first is the output. */
  readonly states: string[];
  /** The names of the values that can be watched. */
  readonly values: string[];
  /** The names of the values that edits can hold. */
  readonly holds: string[];
  /** Whether there are gradients. */
  readonly trains: boolean;
  readonly simd: "relaxed" | "plain";
  /** Whether the bits are those of Python; tested with one product. */
  readonly sameBits: boolean;
}

export interface Sizes {
  inputSize: number;
  hiddenSize: number;
  /** Of a projected output; else it is hiddenSize. */
  outputSize?: number;
  /** Whether to read the sequence from its end. */
  reverse?: boolean;
  /** Whether gates have biases; true by default. */
  bias?: boolean;
}

export class Layer {
  /** A layer whose weights are 0 (the gains of norms: 1). */
  constructor(kernels: Kernels, sizes: Sizes);
  readonly kernels: Kernels;
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly outputSize: number;
  readonly reverse: boolean;
  readonly bias: boolean;
  /** The weights, with the names and shapes of gatewise.nn. Change them freely. */
  weights: Named;
  readonly shapes: Record<string, number[]>;
  /** Run the layer over x [T, B, I]. */
  forward(x: ArrayLike<number>, call?: Call): Run;
}

export interface Call {
  /** T; by default what x has. */
  steps?: number;
  /** B; by default 1. */
  rows?: number;
  /** The initial states, [B, H] (the first [B, P]); by default zeros. */
  states?: Named;
  /** The number of steps of each row. After them, the output is 0 and watched values are NaN. */
  lengths?: ArrayLike<number>;
  /** [T, B], true where a row is reset to its initial states. */
  reset?: ArrayLike<number | boolean>;
  /** The values to record; true for all. */
  watch?: string[] | true;
  /** Whether the run can go backward. */
  keep?: boolean;
  /** Values to hold; the kernels must be those of an editable cell. */
  edits?: Edit[];
}

export interface Edit {
  name: string;
  /** The new value: a number, or one for each unit. */
  value: number | ArrayLike<number>;
  /** Indices; all by default. */
  steps?: number[];
  rows?: number[];
  units?: number[];
}

export interface Run {
  /** [T, B, P] */
  readonly output: Float32Array;
  /** The final states, [B, H] (the first [B, P]). */
  readonly states: Named;
  /** The watched values, [T, B, H]. */
  readonly values: Named;
  /** The derivatives by the states after each step, [T, B, H]; null until `backward` was asked for them. */
  readonly derivatives: Named | null;
  /** The gradients of a loss, from its derivatives by the output and by the final states; missing ones are 0. */
  backward(by?: { output?: Float32Array; states?: Named; derivatives?: boolean }): Gradients;
}

export interface Gradients {
  /** By the input, [T, B, I]. */
  x: Float32Array;
  /** By the weights. */
  weights: Named;
  /** By the initial states. */
  states: Named;
}
