"use strict";
// Filters the cards by words, keeps the jumps on what is shown, and counts it. Without this script
// the page shows everything, and sorting and jumping work by style rules and links.
const field = document.getElementById("words");
const count = document.getElementById("count");
const everything = count.textContent;
const cards = [...document.querySelectorAll(".card")];
const homes = cards.map((card) => card.parentElement);
const place = (card) => Number(getComputedStyle(card).getPropertyValue("--place"));
const byConfidence = [...cards].sort((one, other) => place(one) - place(other));
const isVisible = (card) => getComputedStyle(card).display !== "none";
const say = (number) => number.toLocaleString("en");

// A word begins after anything but a letter or digit; in scripts without spaces, anywhere.
const unspaced = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;
function pattern(word) {
  const literal = word.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return new RegExp((unspaced.test(word) ? "" : "(?<![\\p{L}\\p{N}\\p{M}])") + literal, "giu");
}

function elements(card, selector) {
  return [...card.querySelectorAll(selector)];
}

function holds(parts, patterns) {
  return patterns.every((found) => parts.some((part) => part.textContent.search(found) >= 0));
}

// Marks the words where they stand, without a change of the page.
function mark(shown, patterns) {
  if (!window.Highlight) return;
  const ranges = [];
  for (const part of shown.flatMap((card) => elements(card, ".caption, .references li"))) {
    const text = part.firstChild;
    if (text?.nodeType !== Node.TEXT_NODE) continue;
    for (const match of patterns.flatMap((found) => [...text.data.matchAll(found)])) {
      const range = new Range();
      range.setStart(text, match.index);
      range.setEnd(text, match.index + match[0].length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("word", new Highlight(...ranges));
}

function point(name, card) {
  const link = document.getElementById(`to-${name}`);
  if (!link) return;
  if (card) link.href = `#${card.id}`;
  else link.removeAttribute("href");
}

function update() {
  const words = field.value.normalize().trim().split(/\s+/u).filter(Boolean);
  const patterns = words.map(pattern);
  let said = 0, written = 0;
  for (const card of cards) {
    const inCaption = holds(elements(card, ".caption"), patterns);
    const inReferences = holds(elements(card, ".references li"), patterns);
    card.hidden = !holds(elements(card, ".caption, .references li"), patterns);
    if (!card.hidden && isVisible(card)) {
      said += inCaption;
      written += inReferences;
    }
  }
  const shown = cards.filter(isVisible);
  point("best", shown.at(0));
  point("worst", shown.at(-1));
  point("unsure", byConfidence.find((card) => card.matches(".unsure") && isVisible(card)));
  mark(words.length ? shown : [], patterns);
  if (!words.length && shown.length === cards.length) count.textContent = everything;
  else {
    const found = `: “${words.join(" ")}” in ${say(said)} captions, in references of ${say(written)}`;
    count.textContent = `${say(shown.length)} of ${say(cards.length)}${words.length ? found : ""}`;
  }
}

// The order of reading is the order that is seen.
let sorted = false;
function sort() {
  const wanted = document.getElementById("by-confidence")?.checked ?? false;
  if (wanted === sorted) return;
  sorted = wanted;
  if (sorted) homes.at(-1).append(...byConfidence);
  else cards.forEach((card, number) => homes[number].append(card));
}

function sortFor(link, order) {
  document.getElementById(link)?.addEventListener("click", () => {
    const choice = document.getElementById(order);
    if (choice) choice.checked = true;
    sort();
  });
}

sortFor("to-best", "by-cider");
sortFor("to-worst", "by-cider");
sortFor("to-unsure", "by-confidence");
for (const choice of document.querySelectorAll("input[type=radio]")) {
  choice.addEventListener("change", () => {
    sort();
    update();
  });
}
field.addEventListener("input", update);
document.getElementById("filter").hidden = false;
// A browser that comes back to the page fills in what was chosen before.
sort();
update();
