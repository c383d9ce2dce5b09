// A click on a column's head sorts its table; without scripts the tables simply stay as they are.
for (const table of document.querySelectorAll("table")) {
  const head = table.tHead && table.tHead.rows[table.tHead.rows.length - 1];
  const body = table.tBodies[0];
  if (!head || !body || body.rows.length < 3) continue;
  const key = (row, i) => {
    const text = row.cells[i] ? row.cells[i].textContent.trim() : "";
    const plain = text.replace(/,/g, "").replace(/\u2212/g, "-").match(/^[+-]?\d+(\.\d+)?/);
    return plain ? Number(plain[0]) : text;
  };
  const compare = (a, b) =>
    typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
  [...head.cells].forEach((cell, i) => {
    const sort = () => {
      const down = cell.getAttribute("aria-sort") === "ascending";
      for (const other of head.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => compare(key(a, i), key(b, i)) * (down ? -1 : 1));
      body.append(...rows);
    };
    cell.classList.add("sorts");
    cell.tabIndex = 0;
    cell.title = "sort";
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => event.key === "Enter" && sort());
  });
}
