"use strict";
/* Tables of thousands of rows: one page of them at a time, sorted, searched, and saved as CSV. */
(function (own) {
  const SIZES = [20, 100, 500];

  function isText(column) { return column.some((value) => typeof value === "string"); }

  function comparer(column) {
    const text = isText(column);
    return (a, b) => {
      const x = column[a], y = column[b];
      if (x === null || y === null) return x === y ? 0 : x === null ? 1 : -1; // missing ones are last in either order
      return text ? String(x).localeCompare(String(y), "en", { numeric: true }) : x - y;
    };
  }

  function csv(data, rows) {
    const quoted = (value) => {
      if (value === null) return "";
      const text = String(value);
      return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
    };
    const lines = [data.columns.map((column) => quoted(column.name)).join(",")];
    for (const row of rows) lines.push(data.values.map((column) => quoted(column[row])).join(","));
    return lines.join("\n") + "\n";
  }

  own.table = function (holder) {
    if (holder.dataset.ready) return;
    holder.dataset.ready = "yes";
    const data = own.data(holder.dataset.table), number = data.values.length ? data.values[0].length : 0;
    if (!number) return;
    let rows = Array.from({ length: number }, (_, k) => k), sorted = { column: -1, down: false }, page = 0, size = SIZES[0];
    const padj = own.column(data, "padj"), name = holder.dataset.caption;

    const tools = own.make("div", { class: "tools" });
    const search = own.make("input", { type: "search", placeholder: "Search", "aria-label": "Search " + name });
    const only = own.make("input", { type: "checkbox" });
    const significant = own.make("label", {});
    significant.append(only, " adjusted p ≤ 0.05");
    const sizes = own.make("select", { "aria-label": "Rows a page" });
    for (const k of SIZES) sizes.append(own.make("option", { value: k }, k + " rows"));
    const save = own.make("button", { type: "button" }, "Download CSV");
    tools.append(search);
    if (padj) tools.append(significant);
    if (number > SIZES[0]) tools.append(sizes);
    tools.append(save);

    const scroll = own.make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name });
    const table = own.make("table"), body = own.make("tbody"), head = own.make("tr");
    const heads = data.columns.map((column, k) => {
      const cell = own.make("th", isText(data.values[k]) ? { scope: "col" } : { scope: "col", class: "number" });
      const button = own.make("button", { type: "button", class: "sort" }, column.title);
      button.addEventListener("click", () => sort(k));
      cell.append(button);
      head.append(cell);
      return cell;
    });
    const header = own.make("thead");
    header.append(head);
    table.append(own.make("caption", {}, name), header, body);
    scroll.append(table);

    const turn = own.make("div", { class: "turn" });
    const back = own.make("button", { type: "button" }, "Previous"), next = own.make("button", { type: "button" }, "Next");
    const where = own.make("span", { role: "status" });
    turn.append(back, where, next);
    holder.replaceChildren(tools, scroll, turn);

    function choose() {
      const wanted = search.value.trim().toLowerCase(), texts = data.values.filter(isText);
      rows = [];
      for (let k = 0; k < number; k++) {
        if (only.checked && !(padj[k] !== null && padj[k] <= 0.05)) continue;
        if (!wanted || texts.some((column) => column[k] !== null && String(column[k]).toLowerCase().includes(wanted))) rows.push(k);
      }
      order();
    }
    function order() {
      if (sorted.column >= 0) {
        const column = data.values[sorted.column], compare = comparer(column);
        const missing = rows.filter((k) => column[k] === null), known = rows.filter((k) => column[k] !== null);
        known.sort(sorted.down ? (a, b) => compare(b, a) : compare);
        rows = known.concat(missing);
      }
      page = 0;
      draw();
    }
    function sort(k) {
      sorted = { column: k, down: sorted.column === k ? !sorted.down : false };
      heads.forEach((cell, i) => {
        if (i === k) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
        else cell.removeAttribute("aria-sort");
      });
      order();
    }
    function draw() {
      const pages = Math.max(Math.ceil(rows.length / size), 1), first = page * size;
      const lines = rows.slice(first, first + size).map((row) => {
        const line = own.make("tr");
        for (const column of data.values) {
          const value = column[row];
          line.append(own.make("td", typeof value === "string" ? {} : { class: "number" }, own.shown(value)));
        }
        return line;
      });
      body.replaceChildren(...lines);
      const last = Math.min(first + size, rows.length);
      where.textContent = rows.length ? `${(first + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${rows.length.toLocaleString("en")}` : "nothing found";
      back.disabled = page === 0;
      next.disabled = page >= pages - 1;
    }
    search.addEventListener("input", choose);
    only.addEventListener("change", choose);
    sizes.addEventListener("change", () => { size = Number(sizes.value); page = 0; draw(); });
    back.addEventListener("click", () => { page -= 1; draw(); });
    next.addEventListener("click", () => { page += 1; draw(); });
    save.addEventListener("click", () => {
      const link = own.make("a", { download: holder.dataset.file });
      link.href = URL.createObjectURL(new Blob([csv(data, rows)], { type: "text/csv" }));
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    draw();
  };
})(window.xdelnx);
