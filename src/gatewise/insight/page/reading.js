// What a reader types or pastes, read as input of the network.

/** The words of a text, and those that the network does not know. */
function readText(text, { words, characters }) {
  const known = new Map(words.map((word, k) => [word, k]));
  const knows = (word) => known.has(word) || ([...word].length === 1 && word.codePointAt(0) < characters);
  const spaced = words.every((word) => !/\s/.test(word)) && words.some((word) => [...word].length > 1);
  const parts = spaced ? text.split(/\s+/).filter(Boolean) : [...text];
  const found = joinsWords(words) ? longest(text, known) : parts;
  return { words: found.filter(knows), unknown: [...new Set(found.filter((word) => !knows(word)))] };
}

/** Whether words have spaces in them, so that spaces do not part words. */
function joinsWords(words) {
  return words.some((word) => [...word].length > 1) && words.some((word) => /\s/.test(word));
}

/** A text cut into the longest words that are known, from the left. */
function longest(text, known) {
  const most = Math.max(...[...known.keys()].map((word) => word.length));
  const found = [];
  for (let k = 0; k < text.length; k += found.at(-1).length) {
    const sizes = range(1, most + 1).reverse();
    const size = sizes.find((wide) => known.has(text.slice(k, k + wide)));
    found.push(text.slice(k, k + (size ?? [...text.slice(k)][0].length)));
  }
  return found;
}

/** Words as one text. */
function written(words, { words: known }) {
  const spaced = known.some((word) => [...word].length > 1) && !joinsWords(known);
  return words.join(spaced ? " " : "");
}

/** The input that words stand for. */
function inputOfWords(words, { words: known, inputs }) {
  const places = new Map(known.map((word, k) => [word, k]));
  const wide = inputs.shape[1] ?? 1;
  const found = new Float32Array(words.length * wide);
  words.forEach((word, t) => {
    const k = places.get(word);
    if (k === undefined) found[t] = word.codePointAt(0);
    else found.set(numbers(inputs).subarray(k * wide, (k + 1) * wide), t * wide);
  });
  return found;
}

/** The shortest digits that give the same float32. */
function digits(x) {
  for (let count = 6; count < 9; count++) {
    const number = Number(x.toPrecision(count));
    if (Math.fround(number) === x) return String(number);
  }
  return String(Number(x.toPrecision(9)));
}

/** A table as text: names, then a line a step, with tabs, as spreadsheets write it. */
function tableOf(input, names) {
  const lines = [names.join("\t")];
  for (let k = 0; k < input.length; k += names.length) {
    lines.push(Array.from(input.subarray(k, k + names.length), digits).join("\t"));
  }
  return lines.join("\n");
}

/**
 * Rows of numbers, copied from a spreadsheet or a CSV file: `{ input }`, or `{ wrong }`, a sentence. A first
 * line of names may give the columns in another order, or some more.
 */
function readTable(text, names) {
  const lines = text.split(/\r?\n/).map((line) => line.trimEnd()).filter((line) => line.trim() !== "");
  if (!lines.length) return { wrong: "There are no rows yet." };
  const separator = ["\t", ";", ","].find((sign) => lines[0].includes(sign)) ?? /\s+/;
  const cells = lines.map((line) => (separator instanceof RegExp ? line.trim() : line).split(separator).map((part) => part.trim()));
  const number = (part) => (part === "" ? NaN : Number(separator === "," ? part : part.replace(",", ".")));
  const headed = cells[0].some((part) => Number.isNaN(number(part)));
  const head = headed ? cells.shift() : [];
  const named = names.every((called) => head.includes(called));
  const places = names.map((called, k) => (named ? head.indexOf(called) : k));
  const wanted = named ? head.length : names.length;
  if (!cells.length) return { wrong: "There are names, but no rows of numbers yet." };
  if (cells.length > MOST_STEPS) return { wrong: `There may be ${MOST_STEPS} rows at most. There are ${cells.length}.` };
  const input = new Float32Array(cells.length * names.length);
  for (const [t, row] of cells.entries()) {
    const line = t + 1 + Number(headed);
    if (row.length !== wanted) return { wrong: `Line ${line} must have ${wanted} numbers. It has ${row.length}.` };
    const values = places.map((place) => Math.fround(number(row[place])));
    const k = values.findIndex((value) => !Number.isFinite(value));
    if (k >= 0) return { wrong: `Line ${line} must have a number for ${names[k]}. It has \u201c${row[places[k]]}\u201d.` };
    input.set(values, t * names.length);
  }
  return { input };
}
