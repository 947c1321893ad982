"use strict";
(() => {
  const PAGE = 200;
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const more = document.getElementById("more");
  const chips = [...document.querySelectorAll(".chip")];
  const pressed = (kind) => chips.filter((chip) => chip.dataset[kind] && chip.getAttribute("aria-pressed") === "true")
    .map((chip) => chip.dataset[kind]);
  const heads = [...table.tHead.rows[0].cells];
  const total = body.rows.length;
  let order = null;
  let showAll = false;

  // Rows are looked at when somebody first searches or sorts: until then the style sheet shows the first page.
  const allRows = () => (order ??= [...body.rows].map(
    (element, rank) => ({ element, rank, text: null, status: element.cells[0].textContent,
      changes: (element.dataset.c ?? "").split("|") })));

  const textOf = (row) => (row.text ??= row.element.textContent.toLowerCase());

  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [statuses, changes] = [pressed("status"), pressed("change")];
    let found = 0;
    if (order || showAll || words.length || statuses.length || changes.length) {
      for (const row of allRows()) {
        const fits = (!statuses.length || statuses.includes(row.status))
          && (!changes.length || changes.some((change) => row.changes.includes(change))) && words.every((word) => textOf(row).includes(word));
        found += fits;
        row.element.hidden = !fits || (!showAll && found > PAGE);
      }
      body.classList.add("ready");
    } else {
      found = total;
    }
    const visible = showAll ? found : Math.min(found, PAGE);
    const [all, fit, first] = [total, found, visible].map((count) => count.toLocaleString("en"));
    shown.textContent = (found < total ? `${fit} of ${all} targets match` : `${all} targets`)
      + (visible < found ? `; the first ${first} are shown` : "");
    more.hidden = visible === found;
    more.textContent = `Show all ${found.toLocaleString("en")}`;
  }

  function valueOf(row, column) {
    const cell = row.element.cells[column];
    if (column === 0) return row.rank;
    if (heads[column].classList.contains("c-number")) return Number(cell.dataset.v ?? (cell.textContent || NaN));
    return (cell.querySelector("summary") ?? cell).textContent;
  }

  function sortBy(column, down) {
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    const keyed = allRows().map((row) => [valueOf(row, column), row]);
    keyed.sort(([a, x], [b, y]) => {
      const unknown = Number.isNaN(a) - Number.isNaN(b); // what has no number comes last, whichever way
      const by = typeof a === "number" ? a - b : compare(a, b);
      return unknown || (down ? -by : by) || x.rank - y.rank;
    });
    order = keyed.map(([, row]) => row);
    body.append(...order.map((row) => row.element));
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : head.classList.contains("c-number");
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortBy(column, down);
      show();
    });
  });

  function reveal(id) {
    const element = document.getElementById(id);
    if (!element || !body.contains(element)) return;
    if (!element.getClientRects().length) {
      search.value = "";
      for (const chip of chips) chip.setAttribute("aria-pressed", "false");
      showAll = true;
      show();
    }
    const details = element.querySelector("details");
    details.open = true;
    element.scrollIntoView({ block: "center" });
    details.querySelector("summary").focus({ preventScroll: true });
  }

  search.addEventListener("input", show);
  search.form.addEventListener("submit", (event) => event.preventDefault());
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      show();
    });
  }
  more.addEventListener("click", () => { showAll = true; show(); });
  document.querySelector("main").addEventListener("click", (event) => {
    const bar = event.target.closest("[data-t]");
    if (bar) reveal(`t${bar.dataset.t}`);
  });
  addEventListener("hashchange", () => reveal(location.hash.slice(1)));
  addEventListener("beforeprint", () => { showAll = true; show(); });
  show();
  if (location.hash.startsWith("#t")) reveal(location.hash.slice(1));
})();
