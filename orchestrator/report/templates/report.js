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
  const filters = new URLSearchParams(location.hash.slice(1));
  let order = null;
  let sorted = "";
  let showAll = false;

  // Rows are read at the first search or sort: until then the style sheet shows the first page.
  const allRows = () => (order ??= [...body.rows].map(
    (element, rank) => ({ element, rank, text: null, status: element.cells[0].textContent,
      changes: (element.dataset.c ?? "").split("|") })));

  const textOf = (row) => (row.text ??= row.element.textContent.toLowerCase());

  const nameOf = (row) => row.element.querySelector("summary").firstChild.textContent;

  function matching() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [statuses, changes] = [pressed("status"), pressed("change")];
    return allRows().filter((row) => (!statuses.length || statuses.includes(row.status))
      && (!changes.length || changes.some((change) => row.changes.includes(change)))
      && words.every((word) => textOf(row).includes(word)));
  }

  // The filters stand in the address after the #, so that a link shows the same rows.
  function remember() {
    const now = new URLSearchParams();
    if (search.value) now.set("q", search.value);
    for (const kind of ["status", "change"]) for (const value of pressed(kind)) now.append(kind, value);
    if (sorted) now.set("sort", sorted);
    const text = now.toString();
    if (text || /=/.test(location.hash)) history.replaceState(null, "", text ? `#${text}` : "#");
  }

  function show() {
    let found = total;
    if (order || showAll || search.value.trim() || chips.some((chip) => chip.getAttribute("aria-pressed") === "true")) {
      const fitting = new Set(matching());
      found = fitting.size;
      let shownRows = 0;
      for (const row of allRows()) row.element.hidden = !fitting.has(row) || (++shownRows > PAGE && !showAll);
      body.classList.add("ready");
    }
    const visible = showAll ? found : Math.min(found, PAGE);
    const [all, fit, first] = [total, found, visible].map((count) => count.toLocaleString("en"));
    shown.textContent = (found < total ? `${fit} of ${all} targets match` : `${all} targets`)
      + (visible < found ? `; the first ${first} are shown` : "");
    more.hidden = visible === found;
    more.textContent = `Show all ${found.toLocaleString("en")}`;
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // without permission, or without a clipboard in this context: the old way
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1500);
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
    sorted = `${column}${down ? "-" : "+"}`;
    body.append(...order.map((row) => row.element));
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.dataset.label = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      sortTable(column, before ? before === "ascending" : head.classList.contains("c-number"));
      show();
      remember();
    });
  });

  function sortTable(column, down) {
    for (const head of heads) head.removeAttribute("aria-sort");
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    sortBy(column, down);
  }

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

  search.addEventListener("input", () => { show(); remember(); });
  search.form.addEventListener("submit", (event) => event.preventDefault());
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      show();
      remember();
    });
  }
  more.addEventListener("click", () => { showAll = true; show(); });
  const names = document.getElementById("names");
  names.addEventListener("click", () => copy(matching().map(nameOf).join("\n"), names));
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(document.getElementById(button.dataset.copy).textContent, button));
  }
  document.querySelector("main").addEventListener("click", (event) => {
    const bar = event.target.closest("[data-t]");
    if (bar) reveal(`t${bar.dataset.t}`);
  });

  // Links into Omni are made here: the file itself names no outside address that a program could follow.
  function link(part) {
    for (const place of part.querySelectorAll("[data-link]")) {
      const anchor = document.createElement("a");
      anchor.href = place.dataset.link;
      anchor.textContent = place.textContent;
      place.replaceWith(anchor);
    }
  }
  for (const part of document.querySelectorAll(".about, .issues")) link(part);
  table.addEventListener("toggle", (event) => link(event.target), true);

  // Paper has every row, and the details of what failed.
  let opened = [];
  addEventListener("beforeprint", () => {
    showAll = true;
    show();
    opened = [...document.querySelectorAll("details.bad:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });

  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (moment.getTimezoneOffset()) time.append(` (${moment.toLocaleString("sv", { timeZoneName: "short" })})`);
  }

  function restore(filters) {
    search.value = filters.get("q") ?? "";
    for (const chip of chips) {
      const is = filters.getAll("status").includes(chip.dataset.status) || filters.getAll("change").includes(chip.dataset.change);
      chip.setAttribute("aria-pressed", String(is));
    }
    const [, column, way] = /^(\d+)([+ -])$/.exec(filters.get("sort") ?? "") ?? [];
    if (heads[column]) sortTable(Number(column), way === "-");
    show();
  }

  addEventListener("hashchange", () => {
    if (location.hash.includes("=")) restore(new URLSearchParams(location.hash.slice(1)));
    else reveal(location.hash.slice(1));
  });
  restore(location.hash.includes("=") ? filters : new URLSearchParams());
  if (location.hash.startsWith("#t")) reveal(location.hash.slice(1));
})();
