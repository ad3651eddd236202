/** Compile the kernel of this file. */
globalThis.gatewise = {
  load: (options = {}) => loadFrom(ABOUT, (name) => bytesOf(FILES[name]), options),
};

function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}
