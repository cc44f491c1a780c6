"use strict";

// Tables: a click on a head sorts by its column, a second click the other way round. Numbers sort
// as numbers; a dash, which is no figure, stays last either way.
function key(row, column, number) {
  const text = row.cells[column].textContent.trim();
  if (text === "" || text === "–") return null;
  return number ? parseFloat(text.replace(/^[^-+.\d]+/, "")) : text;
}

function sort(head) {
  const table = head.closest("table"), column = head.cellIndex, number = head.classList.contains("number");
  const way = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  const rows = Array.from(table.tBodies[0].rows, (row) => [key(row, column, number), row]);
  const sign = way === "ascending" ? 1 : -1;
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (number ? a - b : a.localeCompare(b, "en", { numeric: true }));
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
  for (const other of table.tHead.rows[0].cells) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", other === head ? way : "none");
  }
}

for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => sort(button.closest("th")));
}

// Mistakes: a click on a cell of the confusion matrix lists those of that cell; a second click, or the button, the first ones again.
const cells = [...document.querySelectorAll(".matrix button")], filtered = document.querySelector(".filter");
const matches = (row, cell) =>
  row.dataset.reference === cell.dataset.reference && row.dataset.hypothesis === cell.dataset.hypothesis;

function filter(cell) {
  const rows = [...document.querySelectorAll(".mistakes tbody tr")];
  for (const row of rows) row.hidden = cell === null ? "more" in row.dataset : !matches(row, cell);
  for (const other of cells) other.setAttribute("aria-pressed", other === cell);
  filtered.hidden = cell === null;
  if (cell === null) return;
  const { reference, hypothesis, count } = cell.dataset, shown = rows.filter((row) => !row.hidden).length;
  filtered.firstElementChild.textContent = `${reference} taken for ${hypothesis}: the ${shown} ${filtered.dataset.order} of ${count}.`;
  document.getElementById("mistakes").scrollIntoView();
  filtered.lastElementChild.focus({ preventScroll: true });
}

for (const cell of cells) {
  cell.addEventListener("click", () => filter(cell.getAttribute("aria-pressed") === "true" ? null : cell));
}
filtered?.lastElementChild.addEventListener("click", () => {
  const cell = cells.find((other) => other.getAttribute("aria-pressed") === "true");
  filter(null);
  cell.focus();
});

// Audio: a page that came over a network may not touch files, and a file may be on another machine.
function missing(audio) {
  const words = document.createElement("span");
  words.className = "unplayable";
  words.textContent = "This machine cannot play " + decodeURIComponent(new URL(audio.dataset.src).pathname);
  audio.replaceWith(words);
}

for (const audio of document.querySelectorAll("audio")) {
  if (location.protocol === "file:") {
    audio.addEventListener("error", () => missing(audio));
    audio.src = audio.dataset.src;
  } else {
    missing(audio);
  }
}
