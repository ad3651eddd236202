/** Read the folder at `base`, by default that of this module, and compile its kernel. */
export async function load(base = new URL(".", import.meta.url), options = {}) {
  const file = async (name) => {
    const answer = await fetch(new URL(name, base));
    if (!answer.ok) throw new Error(`gatewise: ${name} must be in ${base}. Got status ${answer.status}.`);
    return answer.arrayBuffer();
  };
  const about = JSON.parse(new TextDecoder().decode(await file("model.json")));
  return loadFrom(about, file, options);
}

