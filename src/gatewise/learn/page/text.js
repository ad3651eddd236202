// Elements, and the words in them: texts by key, letters of the chosen notation, numbers.

const data = JSON.parse(document.getElementById("data").textContent);
const MINUS = "\u2212";

/** What the learner has chosen; shell.js keeps it. */
const chosen = { language: "en", notation: "seed", colours: "" };

/** An element of HTML; attributes that are functions listen to events. */
function element(kind, attributes = {}, ...children) {
  const made = document.createElement(kind);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** The text of a key of a section ("shell", "kit" or a scene), its {names} filled in. */
function textOf(section, key, values = {}) {
  const texts = data.texts[chosen.language];
  const text = (texts[section] ?? texts.scenes[section])[key];
  if (text === undefined) throw new Error(`The text "${key}" of ${section} is missing in ${chosen.language}.`);
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    if (!(name in values)) throw new Error(`The text "${key}" of ${section} needs {${name}}.`);
    return values[name];
  });
}

// Letters by notation: of the explanation that the lesson follows, of the textbooks, of the code. A letter with
// "_" after it is that of the step before. "z" and "r" are the gates of the GRU, "n" its candidate.
const LETTERS = {
  seed: {
    f: "z^f", i: "z^i", o: "z^o", g: "z", c: "c^t", c_: "c^t\u22121", h: "h^t", h_: "h^t\u22121", x: "x^t", y: "y^t",
    r: "r", z: "z", n: "h^\u2032",
  },
  book: {
    f: "f_t", i: "i_t", o: "o_t", g: "g_t", c: "c_t", c_: "c_t\u22121", h: "h_t", h_: "h_t\u22121", x: "x_t", y: "y_t",
    r: "r_t", z: "z_t", n: "n_t",
  },
  code: { f: "f", i: "i", o: "o", g: "g", c: "c", c_: "c", h: "h", h_: "h", x: "x", y: "y", r: "r", z: "z", n: "n" },
};
const RAISED = { f: "\u1da0", i: "\u2071", o: "\u1d52", t: "\u1d57", "\u2212": "\u207b", 1: "\u00b9", "\u2032": "\u2032" };
const LOWERED = { t: "\u209c", "\u2212": "\u208b", 1: "\u2081" };

function parts(name, notation = chosen.notation) {
  const letter = LETTERS[notation][name];
  if (letter === undefined) throw new Error(`There is no letter "${name}".`);
  return /^(.)(?:([\^_])(.+))?$/.exec(letter).slice(1);
}

/** A letter as plain text, for canvases and labels. */
function letter(name) {
  const [base, kind, index = ""] = parts(name);
  return base + [...index].map((sign) => (kind === "^" ? RAISED : LOWERED)[sign]).join("");
}

/** A letter as an element. */
function symbol(name, notation) {
  const [base, kind, index] = parts(name, notation);
  const prime = index === "\u2032"; // stands high by itself
  const below = index && !prime ? element(kind === "^" ? "sup" : "sub", {}, index) : index;
  return element("var", { class: `letter ${name[0]}` }, base, below);
}

/** Text with **strong**, `code` and $letters$, as nodes. */
function rich(text) {
  const nodes = text.split(/(\*\*.+?\*\*|`.+?`|\$\w+\$)/).map((part) => {
    if (part.startsWith("**")) return element("strong", {}, part.slice(2, -2));
    if (part.startsWith("`")) return element("code", {}, part.slice(1, -1));
    if (/^\$\w+\$$/.test(part)) return symbol(part.slice(1, -1));
    return part;
  });
  const all = document.createDocumentFragment();
  all.append(...nodes.filter((node) => node !== ""));
  return all;
}

/** The same as plain text, for labels that are read aloud. */
function plain(text) {
  return text.replace(/\*\*(.+?)\*\*|`(.+?)`/g, "$1$2").replace(/\$(\w+)\$/g, (_, name) => letter(name));
}

/** A number with some significant digits. */
function number(x, digits = 3) {
  if (Number.isNaN(x)) return "\u2013";
  if (!Number.isFinite(x)) return x > 0 ? "\u221e" : `${MINUS}\u221e`;
  const size = Math.abs(x);
  const sign = x < 0 ? MINUS : "";
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    const [mantissa, exponent] = size.toExponential(Math.max(0, digits - 1)).split("e");
    return `${sign}${mantissa}\u00d710${[...exponent.replace("+", "")].map(raised).join("")}`;
  }
  const decimals = size === 0 ? 0 : Math.min(9, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  return sign + size.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

function raised(sign) {
  return sign === "-" ? "\u207b" : "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[sign];
}
