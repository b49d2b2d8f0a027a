// Sorting of the tables marked so; without scripts they stand in their own order, and nothing looks broken.
"use strict";
// What a cell sorts by: its exact value, or in tables too long to carry it, the figure as it is read.
const valueOf = (cell, isNumber) => {
  if (cell.dataset.sort !== undefined || !cell.closest("table").classList.contains("long")) return cell.dataset.sort;
  const text = cell.firstChild ? cell.firstChild.textContent : "";
  if (!isNumber) return text === "\u2014" ? undefined : text;
  const value = Number.parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(value) ? undefined : value;
};
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.dataset.first;
      const now = head.getAttribute("aria-sort");
      const order = now === null ? first : now === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const isNumber = head.dataset.kind === "number";
      const rows = [...body.rows].map((row) => [valueOf(row.cells[index], isNumber), row]);
      rows.sort(([a], [b]) => {
        // What was not measured stays at the end, whichever way the rest is sorted.
        if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
        return sign * (isNumber ? Number(a) - Number(b) : a < b ? -1 : a > b ? 1 : 0);
      });
      body.append(...rows.map(([, row]) => row));
    });
  });
}
