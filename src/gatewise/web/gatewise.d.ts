// Types of gatewise.js. T steps, B rows, I inputs, P outputs, L layers; the last axis moves fastest.

export type Numbers = Float32Array | Float64Array;
export type State = Record<string, Numbers>;

export interface Options {
  /** The kernel: relaxed SIMD if the browser has it, else plain SIMD, whose last bits differ. */
  simd?: "relaxed" | "plain";
}

/** Read the folder at `base`, by default that of this module, and compile its kernel. */
export function load(base?: URL | string, options?: Options): Promise<Model>;

export interface Model {
  /** The kernel that runs. */
  readonly simd: "relaxed" | "plain";
  /** Whether the bits are those of Python; tested with one product. */
  readonly sameBits: boolean;
  readonly cell: string;
  readonly dtype: "float32" | "float64";
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly outputSize: number;
  readonly numLayers: number;
  /** The names of the states; the first is the output. */
  readonly states: string[];
  /** A new stream of `batch` rows, at the initial state. */
  stream(options?: { batch?: number }): Stream;
}

export interface Stream {
  readonly model: Model;
  readonly batch: number;
  /** A copy of the states by name, [L, B, H] (the first [L, B, P]). Setting it copies too. */
  state: State;
  /** One step: x [B, I] gives the output [B, P]. */
  step(x: Numbers): Numbers;
  /** Many steps: x [T, B, I] gives the outputs [T, B, P]. */
  run(x: Numbers): Numbers;
  /** Reset the states to their initial values. */
  reset(): void;
  /** An independent stream in the same state. */
  fork(): Stream;
  /** Give the memory of the stream to the next one. The stream can no longer be used. */
  close(): void;
}
