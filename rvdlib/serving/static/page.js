"use strict";
// Ids are text and nothing else: only textContent is ever set.
const at = (id) => document.getElementById(id);

function line(list, item, note, kind, raters = []) {
  const entry = document.createElement("li");
  entry.textContent = String(item);
  if (note) {
    const small = document.createElement("small");
    small.textContent = " " + note;
    if (raters.length) small.title = raters.join(", ");
    entry.append(small);
  }
  if (kind) entry.className = kind;
  list.append(entry);
}

function moved(item, from, to) {
  const before = from.indexOf(item);
  const now = to.indexOf(item);
  if (before === now) return "";
  return before > now ? `up from ${before + 1}` : `down from ${before + 1}`;
}

function show(found) {
  const items = found.items.map((each) => each.item);
  const { undefended, raters, neighbors, survives } = found.evidence;
  at("undefended").replaceChildren();
  at("defended").replaceChildren();
  for (const item of undefended) {
    const stays = items.includes(item);
    line(at("undefended"), item, stays ? "" : "not in the defended list", stays ? "" : "gone");
  }
  items.forEach((item, place) => {
    const isNew = !undefended.includes(item);
    const notes = [isNew ? "new" : moved(item, undefended, items)];
    if (neighbors.length) notes.push(`rated by ${raters[place].length} of ${neighbors.length} neighbours`);
    line(at("defended"), item, notes.filter(Boolean).join(", "), isNew ? "new" : "", raters[place]);
  });
  at("defense").textContent = found.defense;
  at("survives").textContent = ["No quorum decides here.", "No neighbour may be taken away."][
    { null: 0, 0: 1 }[survives]
  ] ?? `Any ${survives} of these neighbours may be taken away, and every item keeps its quorum.`;
  at("neighbors").textContent = neighbors.length ? neighbors.join(", ") : "none";
  at("lists").hidden = at("why").hidden = false;
  at("said").className = "";
  at("said").textContent = found.short
    ? `${items.length} of ${items.length + found.short} items: the defence allows no more.`
    : "";
}

async function ask(user, n) {
  at("said").textContent = "…";
  try {
    const address = `recommend/${encodeURIComponent(user)}?n=${encodeURIComponent(n)}&evidence=1`;
    const response = await fetch(address);
    const found = await response.json();
    if (!response.ok) throw new Error(found.error);
    show(found);
  } catch (error) {
    at("lists").hidden = at("why").hidden = true;
    at("said").className = "error";
    at("said").textContent = error.message;
  }
}

const form = at("ask");
form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask(form.elements.user.value, form.elements.n.value);
});
const asked = new URLSearchParams(location.search);
if (asked.has("user")) {
  form.elements.user.value = asked.get("user");
  if (asked.has("n")) form.elements.n.value = asked.get("n");
  ask(form.elements.user.value, form.elements.n.value);
}
