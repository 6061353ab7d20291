// What the names of the service mean to people. Plain tables; names that are new read as they are written.

export const AXES = {
  vv: { name: "Look", says: "visual vector" },
  x: { name: "Layout", says: "structure vector" },
  mv: { name: "Meaning", says: "meaning vector" },
  fts: { name: "Words", says: "full text" },
};

export const FACETS = {
  tags: "Tags", classes: "Classes", colours: "Colours", format: "Format", orientation: "Shape", year: "Year", has: "Has",
};

export const HAS = {
  text: "text in the picture", caption: "a caption", tags: "tags", user_text: "words of its owner", date: "a date",
};

export const SORTS = {
  relevance: "Best first", newest: "Newest", oldest: "Oldest", largest: "Largest", smallest: "Smallest", name: "Name",
};

export const DATES = { taken: "Taken", modified: "File changed", added: "Indexed" };

export const NUMBERS = {
  width: { name: "Width", unit: "px", scale: 1, step: 1 },
  height: { name: "Height", unit: "px", scale: 1, step: 1 },
  bytes: { name: "File", unit: "kB", scale: 1000, step: 1 },
  confidence: { name: "Surest label", unit: "%", scale: 0.01, step: 1 },
};

const FIELDS = { caption: "caption", tags: "tags", classification: "classes", ocr: "text in the picture", name: "file name", path: "path", user: "words of its owner" };

const FEATURES = {
  ocr_hit: "Text in the picture", tag_overlap: "Tags in common", style_match: "Style", confidence: "Sureness of the models",
  run_freshness: "Fresh evidence", evidence_consistency: "Runs agree", layout: "Layout as asked",
};

const KINDS = {
  rrf: (of) => [`${AXES[of]?.name || of}: place`, `place among the candidates by ${AXES[of]?.says || of}`],
  dbsf: (of) => [`${AXES[of]?.name || of}: score`, `score among the candidates by ${AXES[of]?.says || of}`],
  sim: (of) => [`${AXES[of]?.name || of}: likeness`, `similarity by ${AXES[of]?.says || of}`],
  bm25: (of) => [`Words in ${FIELDS[of] || of}`, `full-text score of the field ${of}`],
  penalty: (of) => [`Against: ${plain(of)}`, `a penalty: ${plain(of)}`],
};

const plain = (name) => name.replaceAll("_", " ").replaceAll(".", " ");
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Name, explanation and colour class of a feature. */
export function feature(name) {
  const [kind, ...rest] = name.split(".");
  const of = rest.join(".");
  const axis = AXES[of] ? of : kind === "bm25" ? "fts" : AXES[name] ? name : "other";
  const said = of && KINDS[kind] ? KINDS[kind](of) : [FEATURES[name] || AXES[name]?.name || capital(plain(name)), name];
  return { name: said[0], says: said[1], tone: kind === "penalty" ? "penalty" : axis };
}

const LOST = {
  index_missing: "it has no index", index_unreadable: "its index cannot be read", model_missing: "its model is not there",
  model_failed: "its model failed", fingerprint: "its model is another than the one the images were indexed with",
  dimension: "its vectors have another length", vector_invalid: "the vector of the question is not usable",
  no_vector: "this picture has no vector there", timeout: "it took too long", unreachable: "it could not be reached",
  ceiling: "it would have cost too much",
};
const STEPS = { rerank: "The second look at the best hits", facets: "The counts of the filters" };

/** One sentence on an axis or a step that did not take part, and the words for the curious. */
export function lost(one) {
  const who = one.axis ? AXES[one.axis]?.name || one.axis : STEPS[one.step] || one.step || "A part";
  const effect = one.effect ? ` ${capital(one.effect).replace(/\.?$/, ".")}` : "";
  return { said: `${who} did not take part: ${LOST[one.code] || one.reason}.${effect}`, reason: one.reason };
}

/** What a stage of the search is called. */
export const stage = (name) => capital(plain(name.replace(/_ms$/, "")));

/** What the words of a question say of the look. */
export function layout(constraint) {
  const parts = [constraint.orientation, constraint.colour, constraint.property && plain(constraint.property), constraint.place && `at the ${constraint.place}`];
  return parts.filter(Boolean).join(", ") || constraint.said;
}

export const without = (counterfactual) => {
  const of = counterfactual.without;
  return AXES[of] ? AXES[of].name.toLowerCase() : plain(of);
};

export const value = (field, text) => (field === "has" ? HAS[text] || plain(text) : field === "format" ? text.toUpperCase() : text);

const TASKS = {
  vision: "caption and tags", ocr: "text in the picture", vv_embed: "visual vector", x_embed: "structure vector", mv_embed: "meaning vector",
};

export const task = (name) => TASKS[name] || plain(name);

export const STATES = {
  queued: "waiting", retry_queued: "waiting again", leased: "taken", running: "running", reported: "reported",
  persisted: "stored", done: "done", model_mismatch: "other model", dead_letter: "given up", cancelled: "cancelled",
};
