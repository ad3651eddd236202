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

const MISSING = /^([-\u2013?]|nan|n\/?a|#n\/a|null|none)?$/i; // how tables mark that there is no number

/** The cells of a table: lines without content are left out, except those between others that have empty cells. */
function cellsOf(text, names) {
  const all = text.split(/\r?\n/);
  const written = (line) => line.trim() !== "";
  const [first, last] = [all.findIndex(written), all.findLastIndex(written)];
  const lines = first < 0 ? [] : all.slice(first, last + 1).filter((line) => line !== "").map((line) => line.trimEnd());
  if (!lines.length) return { rows: [] };
  const parts = (line, sign) => (sign === " " ? line.trim().split(/\s+/) : line.split(sign)).map(plainCell);
  const fits = (sign) => {
    const found = parts(lines[0], sign);
    return found.length === names.length || names.every((called) => found.includes(called));
  };
  const signs = ["\t", ";", ",", " "];
  // A comma may also be the decimal sign, where columns do not fit otherwise.
  const there = signs.filter((sign) => sign === " " || lines[0].includes(sign));
  const sign = there[0] === "," ? there.find(fits) ?? "," : there[0];
  return { rows: lines.map((line) => parts(line, sign)), sign };
}

/** A cell without spaces and quotes around it. */
function plainCell(text) {
  return text.trim().replace(/^"(.*)"$/, "$1").trim();
}

/** What reads the numbers of a table: commas are decimal signs, unless columns or other numbers show that they are not. */
function numberReader(rows, sign) {
  const points = rows.some((row) => row.some((part) => /^[-+\u2212]?\d*\.\d+(e[-+]?\d+)?$/i.test(part)));
  const decimal = sign !== "," && !points ? "," : ".";
  return (part) => (part === "" ? NaN : Number(part.replace("\u2212", "-").replace(decimal, ".")));
}

/**
 * Rows of numbers, copied from a spreadsheet or a CSV file: `{ input, names }`, or `{ wrong }`, a sentence. A
 * first line of names may give the columns in another order, or some more; `names` tells whether there was a
 * first line of other names.
 */
function readTable(text, names) {
  const { rows, sign } = cellsOf(text, names);
  if (!rows.length) return { wrong: "There are no rows yet." };
  const number = numberReader(rows, sign);
  const named = names.every((called) => rows[0].includes(called));
  const headed = named || rows[0].some((part) => /\p{L}/u.test(part) && !MISSING.test(part) && Number.isNaN(number(part)));
  const head = headed ? rows.shift() : [];
  const places = names.map((called, k) => (named ? head.indexOf(called) : k));
  const wanted = named ? head.length : names.length;
  if (!rows.length) return { wrong: "There are names, but no rows of numbers yet." };
  if (rows.length > MOST_STEPS) return { wrong: `There may be ${MOST_STEPS} rows at most. There are ${rows.length}.` };
  const input = new Float32Array(rows.length * names.length);
  for (const [t, row] of rows.entries()) {
    const line = t + 1 + Number(headed);
    if (row.length !== wanted) return { wrong: `Line ${line} must have ${counted(wanted, "number")}. It has ${row.length}.` };
    const values = places.map((place) => Math.fround(number(row[place])));
    const k = values.findIndex((value) => !Number.isFinite(value));
    if (k >= 0) return { wrong: `Line ${line} must have a number for ${names[k]}. It has \u201c${row[places[k]]}\u201d.` };
    input.set(values, t * names.length);
  }
  return { input, names: headed && !named };
}

/** "1 step", "2 steps". */
function counted(n, what) {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
