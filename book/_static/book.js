// The scoreboard sorts, filters and searches; without this script it is a plain table. Links and symbols show what
// they stand for; without it the browser's own title and the table of symbols do. No dependencies, no requests.
(function () {
  "use strict";

  function cellValue(row, column) {
    const cell = row.cells[column];
    const value = cell.dataset.value ?? cell.textContent.trim();
    return value !== "" && !isNaN(value) ? Number(value) : value.toLowerCase();
  }

  function compare(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function makeSortable(table) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach(function (head, column) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent.trim();
      head.replaceChildren(button);
      button.addEventListener("click", function () {
        const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
        const rows = [...body.rows];
        rows.sort((a, b) => direction * compare(cellValue(a, column), cellValue(b, column)));
        body.append(...rows);
      });
    });
  }

  function makeFilterable(table, form) {
    const named = ["words", "part", "scale", "verdict", "device"];
    const rows = [...table.tBodies[0].rows];
    const fields = form.elements;
    const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    function restore() {
      const wanted = new URLSearchParams(location.search);
      named.forEach(function (name) {
        const value = wanted.get(name);
        if (value === null) return;
        fields[name].value = value;
        if (fields[name].selectedIndex === -1) fields[name].selectedIndex = 0;
      });
    }
    // The address follows the filters, so that a view can be shared; from files a browser may refuse.
    function remember() {
      const kept = new URLSearchParams();
      named.forEach(function (name) {
        if (fields[name].value && (name !== "scale" || fields[name].value !== "small")) kept.set(name, fields[name].value);
      });
      try {
        history.replaceState(null, "", location.pathname + (kept.size ? "?" + kept : "") + location.hash);
      } catch { /* the filters work all the same */ }
    }
    function apply() {
      const words = fields.words.value.toLowerCase().split(/\s+/).filter(Boolean);
      const scale = fields.scale.value;
      let shown = 0;
      rows.forEach(function (row) {
        const verdict = row.dataset[scale];
        const match =
          words.every((word) => text.get(row).includes(word)) &&
          (!fields.part.value || row.dataset.part === fields.part.value) &&
          (!fields.device.value || row.dataset.device === fields.device.value) &&
          (!fields.verdict.value || verdict === fields.verdict.value) &&
          (scale === "small" || verdict !== "");
        row.hidden = !match;
        shown += match;
      });
      form.querySelector("output").textContent = shown + " of " + rows.length + " claims";
    }
    form.addEventListener("input", () => (apply(), remember()));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(() => (apply(), remember())));
    form.hidden = false;
    restore();
    apply();
    const share = document.getElementById("claims-share");
    if (navigator.clipboard) {
      share.hidden = false;
      share.querySelector("button").addEventListener("click", async function (event) {
        await navigator.clipboard.writeText(location.href);
        event.target.textContent = "copied";
        setTimeout(() => (event.target.textContent = "copy it"), 2000);
      });
    }
  }

  // What scrolls sideways can be reached and scrolled with the keyboard.
  function makeScrollersFocusable() {
    document.querySelectorAll("article pre, article .cell_output, article mjx-container[display], article .full-run, article .wide").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
      else if (box.tabIndex === 0) box.removeAttribute("tabindex");
    });
  }

  // What a reader points at shows what it stands for: a paper its reference, a number its equation or figure, a
  // symbol its meaning. Links do so for the keyboard, too; symbols have their table. Escape takes it away.
  function makePreviews() {
    const box = document.createElement("div");
    box.id = "preview";
    box.role = "tooltip";
    box.hidden = true;
    document.body.append(box);
    let owner = null;
    const hide = () => (box.hidden = true);
    function show(of, ...content) {
      owner = of;
      box.replaceChildren(...content);
      box.hidden = false;
      settle();
    }
    function settle() {
      const place = owner.getClientRects()[0];
      const room = document.documentElement.clientWidth - box.offsetWidth - 8;
      const below = place.bottom + box.offsetHeight < innerHeight;
      box.style.left = Math.max(8, Math.min(place.left, room)) + "px";
      box.style.top = (below ? place.bottom + 2 : place.top - box.offsetHeight - 2) + "px";
    }
    function attach(link, content) {
      ["mouseenter", "focus"].forEach((name) => link.addEventListener(name, () => show(link, ...content())));
      link.addEventListener("blur", hide);
      link.addEventListener("mouseleave", (event) => event.relatedTarget === box || hide());
    }
    document.querySelectorAll("article a.paper[title]").forEach(function (link) {
      const text = link.title;
      link.removeAttribute("title"); // else the browser's own would stand beside ours
      link.setAttribute("aria-description", text);
      attach(link, () => [text]);
    });
    document.querySelectorAll("article a.mention").forEach(function (link) {
      const target = document.getElementById(link.hash.slice(1));
      attach(link, () => [...target.querySelectorAll("mjx-container, img, figcaption")].map((part) => part.cloneNode(true)));
    });
    box.addEventListener("mouseleave", hide);
    // The keyboard scrolls to the link that it reaches: what that shows goes with it.
    window.addEventListener("scroll", () => box.hidden || (owner === document.activeElement ? settle() : hide()), { passive: true });
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());

    // A symbol is known by the glyphs that MathJax draws for it, and those in the table of symbols say what it means.
    const symbols = document.querySelector("details.symbols");
    if (!symbols) return;
    const glyphs = (node) => node.localName + (node.localName === "mjx-c" ? node.classList[0] : "") + [...node.children].map(glyphs);
    function readMeanings() {
      const found = new Map();
      symbols.querySelectorAll("tr").forEach(function (row) {
        row.cells[0].querySelectorAll("mjx-math").forEach(function (symbol) {
          if (symbol.children.length === 1) found.set(glyphs(symbol.children[0]), [symbol.parentElement, row.cells[1]]);
        });
      });
      return found;
    }
    let meanings = null; // MathJax draws the whole page at once: the table is there when a formula is
    symbols.closest("article").addEventListener("pointerover", function (event) {
      const formula = symbols.contains(event.target) ? null : event.target.closest("mjx-math");
      let known = null;
      if (formula) {
        meanings ??= readMeanings();
        for (let node = event.target; node !== formula; node = node.parentElement) {
          const meaning = meanings.get(glyphs(node));
          if (meaning) known = [node, ...meaning]; // the largest: a letter with its index before the letter
        }
      }
      if (known) {
        const [node, symbol, meaning] = known;
        node.classList.add("known");
        show(node, symbol.cloneNode(true), ": ", ...[...meaning.childNodes].map((part) => part.cloneNode(true)));
        node.addEventListener("pointerleave", (left) => left.pointerType === "mouse" && hide(), { once: true });
      } else if (event.pointerType !== "mouse") hide(); // a finger leaves at once: the next tap takes it away
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    makePreviews();
    const table = document.getElementById("claims-table");
    if (table) {
      makeSortable(table);
      makeFilterable(table, document.getElementById("claims-filters"));
    }
    makeScrollersFocusable();
  });
  window.addEventListener("load", makeScrollersFocusable);
  window.addEventListener("resize", makeScrollersFocusable);
})();
