/** Read the folder at `base`, by default that of this module, and compile its kernel. */
export async function load(base = new URL(".", import.meta.url), options = {}) {
  const file = fileAt(base);
  return loadFrom(await jsonOf(file("model.json")), file, options);
}

/** A function that gives the content of the files at `base`. */
function fileAt(base) {
  return async (name) => {
    const answer = await fetch(new URL(name, base));
    if (!answer.ok) throw new Error(`gatewise: ${name} must be in ${base}. Got status ${answer.status}.`);
    return answer.arrayBuffer();
  };
}

const jsonOf = async (content) => JSON.parse(new TextDecoder().decode(await content));
