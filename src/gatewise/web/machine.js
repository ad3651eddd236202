// What streams and layers share: memory of WebAssembly, kernels in it, and their calls.

const STACK = 1 << 19; // bytes at the start of memory
const PAGE = 1 << 16; // bytes in a page of WebAssembly memory
const LINE = 64; // bytes: arrays begin at multiples

/** A module with one function: a * b + c by relaxed_madd of f32x4 or f64x2. */
function probe(dtype) {
  const [type, splat, madd, lane] = dtype === "float64" ? [124, 20, 135, 33] : [125, 19, 133, 31];
  return Uint8Array.of(
    0, 97, 115, 109, 1, 0, 0, 0, // header
    1, 8, 1, 96, 3, type, type, type, 1, type, // a type: three numbers to one
    3, 2, 1, 0, // a function of that type
    7, 5, 1, 1, 102, 0, 0, // exported as f
    10, 22, 1, 20, 0, // its code
    32, 0, 253, splat, 32, 1, 253, splat, 32, 2, 253, splat, // each argument in all lanes
    253, madd, 2, 253, lane, 0, 11, // relaxed_madd, lane 0
  );
}

/** Whether relaxed SIMD exists, and whether it rounds a product and its sum once, as Python's kernels do. */
function relaxed(dtype) {
  const code = probe(dtype);
  if (!WebAssembly.validate(code)) return { exists: false, rounds: "twice" };
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(code)).exports;
  const e = dtype === "float64" ? 2 ** -30 : 2 ** -13;
  // The exact result is -e^2; it is 0 if the product is rounded first.
  return { exists: true, rounds: f(1 + e, 1 - e, -1) === -e * e ? "once" : "twice" };
}

/** Memory of WebAssembly: a stack, then arrays, one after another. */
class Machine {
  constructor(type = Float32Array) {
    this.type = type;
    this.memory = new WebAssembly.Memory({ initial: STACK / PAGE });
    this.stack = new WebAssembly.Global({ value: "i32", mutable: true }, STACK);
    this.end = STACK; // of the arrays
  }

  /** The address of new memory of `size` bytes. */
  bytes(size) {
    const address = this.end;
    this.end += Math.ceil(size / LINE) * LINE;
    const missing = this.end - this.memory.buffer.byteLength;
    if (missing > 0) this._grow(Math.ceil(missing / PAGE));
    return address;
  }

  _grow(pages) {
    try {
      this.memory.grow(pages);
    } catch {
      const size = Math.ceil(this.end / 1e6);
      throw new Error(`gatewise: the arrays of this call need more memory than there is, above ${size} MB.`);
    }
  }

  /** The address of new memory for `count` numbers. */
  room(count) {
    return this.bytes(count * this.type.BYTES_PER_ELEMENT);
  }

  /** A view of numbers in memory. Copy what must be kept: memory moves when it grows. */
  numbers(address, count) {
    return new this.type(this.memory.buffer, address, count);
  }
}

/** A kernel that computes in the memory of a machine; `fields` are the names of its fields in order. */
class Program {
  constructor(machine, module, fields, table) {
    this.machine = machine;
    const env = {
      __linear_memory: machine.memory,
      __stack_pointer: machine.stack,
      __indirect_function_table: new WebAssembly.Table({ initial: table, element: "anyfunc" }),
    };
    const { run, prepare, part } = new WebAssembly.Instance(module, { env }).exports;
    Object.assign(this, { run, prepare });
    this.part = (call) => part(call, 0n, 1n);
    this._place = new Map(fields.map((name, n) => [name, n]));
  }

  /** A call: the address of its fields. A field that is not given is 0: a null pointer, or false. */
  call(fields) {
    const address = this.machine.bytes(8 * this._place.size);
    new Int32Array(this.machine.memory.buffer, address, 2 * this._place.size).fill(0);
    this.set(address, fields);
    return address;
  }

  /** Set fields of a call. Names that the kernel does not have are left out. */
  set(call, fields) {
    const numbers = new Int32Array(this.machine.memory.buffer, call, 2 * this._place.size);
    for (const name in fields) {
      const place = this._place.get(name);
      if (place !== undefined) write(numbers, place, fields[name]);
    }
  }
}

/** The value of a name in an object; undefined if it has none, also for names such as "constructor". */
const entryOf = (object, name) => (object && Object.hasOwn(object, name) ? object[name] : undefined);

/** Write a whole number as integer `place` of 64 bits. */
function write(numbers, place, value) {
  numbers[2 * place] = value;
  numbers[2 * place + 1] = Math.floor(value / 2 ** 32);
}

function check(name, numbers, count) {
  if (numbers?.length !== count)
    throw new Error(`gatewise: ${name} must have ${count} numbers. Got ${numbers?.length}.`);
}
