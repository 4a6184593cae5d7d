"use strict";
/* Clouds of genes on a canvas: hover names a gene, a box finds it, wheel, drag, buttons and keys zoom and move. */
window.xdelnx = window.xdelnx || {};
(function (own) {
  const COLOURS = { none: "#9A9A9A", down: "#0072B2", up: "#D55E00", ink: "#222222" };
  const MARGIN = { left: 56, right: 14, top: 14, bottom: 42 };
  const LARGEST = 10;
  const parsed = new Map();

  own.data = function (id) {
    if (!parsed.has(id)) parsed.set(id, JSON.parse(document.getElementById(id).textContent));
    return parsed.get(id);
  };
  own.column = function (data, name) {
    const k = data.columns.findIndex((column) => column.name === name);
    return k < 0 ? null : data.values[k];
  };
  own.shown = function (value) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e12) return value.toLocaleString("en");
    if (size >= 1e6 || size < 1e-3) return value.toExponential(2);
    return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 });
  };
  own.make = function (name, attributes, text) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  function points(data, kind, fdr) {
    const fold = own.column(data, "log2fc"), p = own.column(data, "pval"), padj = own.column(data, "padj");
    const mean = own.column(data, "mean"), names = own.column(data, "gene");
    let reach = 1, top = 1;
    for (let i = 0; i < names.length; i++) {
      if (fold[i] === null || p[i] === null) continue;
      if (Math.abs(fold[i]) < LARGEST) reach = Math.max(reach, Math.abs(fold[i]));
      if (p[i] > 0) top = Math.max(top, -Math.log10(p[i]));
    }
    reach *= 1.04;
    const found = [];
    for (let i = 0; i < names.length; i++) {
      if (fold[i] === null || p[i] === null) continue;
      if (kind === "ma" && !(mean[i] > 0)) continue;
      const change = Math.max(-reach, Math.min(reach, fold[i]));
      const height = p[i] > 0 ? -Math.log10(p[i]) : 1.05 * top;
      const hit = padj[i] !== null && padj[i] <= fdr;
      const colour = !hit ? "none" : fold[i] < 0 ? "down" : "up";
      found.push(kind === "ma" ? { i, x: Math.log10(mean[i]), y: change, colour } : { i, x: change, y: height, colour });
    }
    found.sort((a, b) => (a.colour === "none" ? 0 : 1) - (b.colour === "none" ? 0 : 1));
    const whole = { x0: -1.03 * reach, x1: 1.03 * reach, y0: 0, y1: 1.1 * top };
    if (kind === "ma") {
      const xs = found.map((point) => point.x);
      const low = xs.reduce((a, b) => Math.min(a, b), Infinity), high = xs.reduce((a, b) => Math.max(a, b), -Infinity);
      Object.assign(whole, found.length ? { x0: low - 0.1, x1: high + 0.1 } : { x0: 0, x1: 1 });
      Object.assign(whole, { y0: -1.03 * reach, y1: 1.03 * reach });
    }
    return { found, whole };
  }

  function ticks(low, high) {
    const raw = (high - low) / 6, power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].find((k) => k * power >= raw) * power;
    const places = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) places.push(k * step);
    return places;
  }
  function label(value, log) {
    return log ? own.shown(Math.pow(10, value)) : String(Number(value.toPrecision(6)));
  }

  own.cloud = function (holder) {
    if (holder.dataset.ready) return;
    holder.dataset.ready = "yes";
    const kind = holder.dataset.kind, fdr = Number(holder.dataset.fdr);
    const data = own.data(holder.dataset.cloud), names = own.column(data, "gene");
    const { found, whole } = points(data, kind, fdr);
    const logX = kind === "ma";
    const titles = kind === "ma" ? ["mean count", "log2 fold change"] : ["log2 fold change", "−log10 p"];
    let view = { ...whole }, marked = [], drag = null;

    const box = own.make("div", { class: "cloud-tools" });
    const search = own.make("input", { type: "search", placeholder: "Find a gene", "aria-label": "Find a gene in the picture" });
    const status = own.make("span", { class: "cloud-status", role: "status" });
    box.append(search);
    for (const [text, name, action] of [["+", "Zoom in", () => zoom(0.6)], ["−", "Zoom out", () => zoom(1 / 0.6)],
      ["Reset", "Show all genes", () => reset()]]) {
      const button = own.make("button", { type: "button", "aria-label": name, title: name }, text);
      button.addEventListener("click", action);
      box.append(button);
    }
    box.append(status);
    const frame = own.make("div", { class: "cloud-frame" });
    const canvas = own.make("canvas", { tabindex: "0", role: "img",
      "aria-label": (holder.dataset.label || "") + " Arrow keys move, plus and minus zoom, 0 shows all; the same genes are in the table." });
    const tip = own.make("div", { class: "cloud-tip", hidden: "" });
    frame.append(canvas, tip);
    holder.append(box, frame);
    const context = canvas.getContext("2d");

    function inner() {
      return { width: canvas.clientWidth - MARGIN.left - MARGIN.right, height: canvas.clientHeight - MARGIN.top - MARGIN.bottom };
    }
    function px(x) { return MARGIN.left + ((x - view.x0) / (view.x1 - view.x0)) * inner().width; }
    function py(y) { return MARGIN.top + ((view.y1 - y) / (view.y1 - view.y0)) * inner().height; }
    function zoom(by, at) {
      const cx = at ? at.x : (view.x0 + view.x1) / 2, cy = at ? at.y : (view.y0 + view.y1) / 2;
      if (by < 1 && view.x1 - view.x0 < 1e-3 * (whole.x1 - whole.x0)) return;
      view = { x0: cx + (view.x0 - cx) * by, x1: cx + (view.x1 - cx) * by, y0: cy + (view.y0 - cy) * by, y1: cy + (view.y1 - cy) * by };
      draw();
    }
    function move(dx, dy) {
      view = { x0: view.x0 + dx, x1: view.x1 + dx, y0: view.y0 + dy, y1: view.y1 + dy };
      draw();
    }
    function reset() { view = { ...whole }; draw(); }

    function axes(width, height) {
      context.strokeStyle = context.fillStyle = COLOURS.ink;
      context.lineWidth = 1;
      context.font = "12px system-ui, sans-serif";
      context.beginPath();
      context.moveTo(MARGIN.left, MARGIN.top);
      context.lineTo(MARGIN.left, MARGIN.top + height);
      context.lineTo(MARGIN.left + width, MARGIN.top + height);
      context.stroke();
      context.textAlign = "center";
      for (const x of ticks(view.x0, view.x1)) {
        if (logX && view.x1 - view.x0 > 2 && Math.abs(x - Math.round(x)) > 1e-9) continue;
        context.fillText(label(x, logX), px(x), MARGIN.top + height + 16);
        context.fillRect(px(x) - 0.5, MARGIN.top + height, 1, 4);
      }
      context.fillText(titles[0], MARGIN.left + width / 2, MARGIN.top + height + 34);
      context.textAlign = "right";
      for (const y of ticks(view.y0, view.y1)) {
        context.fillText(label(y, false), MARGIN.left - 7, py(y) + 4);
        context.fillRect(MARGIN.left - 4, py(y) - 0.5, 4, 1);
      }
      context.save();
      context.translate(14, MARGIN.top + height / 2);
      context.rotate(-Math.PI / 2);
      context.textAlign = "center";
      context.fillText(titles[1], 0, 0);
      context.restore();
    }
    function draw() {
      const ratio = window.devicePixelRatio || 1;
      canvas.width = Math.round(canvas.clientWidth * ratio);
      canvas.height = Math.round(canvas.clientHeight * ratio);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.fillStyle = "#FFFFFF";
      context.fillRect(0, 0, canvas.clientWidth, canvas.clientHeight);
      const { width, height } = inner();
      axes(width, height);
      context.save();
      context.beginPath();
      context.rect(MARGIN.left, MARGIN.top - 6, width + MARGIN.right, height + 6);
      context.clip();
      if (logX) { context.fillStyle = COLOURS.ink; context.fillRect(MARGIN.left, py(0) - 0.5, width, 1); }
      const size = found.length > 5000 ? 1.9 : 2.8;
      for (const colour of ["none", "down", "up"]) {
        context.fillStyle = COLOURS[colour];
        context.globalAlpha = colour === "none" ? 0.45 : 0.8;
        for (const point of found) {
          if (point.colour !== colour) continue;
          const x = px(point.x), y = py(point.y);
          if (x < MARGIN.left - 3 || x > MARGIN.left + width + 3 || y < 0 || y > MARGIN.top + height + 3) continue;
          context.beginPath();
          context.arc(x, y, size, 0, 6.2832);
          context.fill();
        }
      }
      context.globalAlpha = 1;
      context.lineWidth = 1.6;
      context.strokeStyle = context.fillStyle = COLOURS.ink;
      context.textAlign = "left";
      marked.forEach((point, k) => {
        context.beginPath();
        context.arc(px(point.x), py(point.y), 6, 0, 6.2832);
        context.stroke();
        if (k < 12) {
          context.lineWidth = 3;
          context.strokeStyle = "#FFFFFF";
          context.strokeText(names[point.i], px(point.x) + 9, py(point.y) + 4);
          context.fillText(names[point.i], px(point.x) + 9, py(point.y) + 4);
          context.lineWidth = 1.6;
          context.strokeStyle = COLOURS.ink;
        }
      });
      context.restore();
    }
    function words(i) {
      return data.columns.map((column, k) => (k === 0 ? String(data.values[0][i]) : column.title + " " + own.shown(data.values[k][i])));
    }
    function nearest(event) {
      const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
      let best = null, least = 144;
      for (const point of found) {
        const dx = px(point.x) - x, dy = py(point.y) - y, far = dx * dx + dy * dy;
        if (far <= least) { best = point; least = far; }
      }
      return { best, x, y };
    }
    canvas.addEventListener("pointermove", (event) => {
      if (drag) {
        const { width, height } = inner();
        const dx = ((drag.x - event.clientX) / width) * (view.x1 - view.x0);
        const dy = ((event.clientY - drag.y) / height) * (view.y1 - view.y0);
        drag = { x: event.clientX, y: event.clientY };
        tip.hidden = true;
        move(dx, dy);
        return;
      }
      const { best, x, y } = nearest(event);
      tip.hidden = !best;
      if (!best) return;
      tip.replaceChildren(...words(best.i).map((text, k) => own.make(k ? "span" : "strong", {}, text)));
      tip.style.left = Math.min(x + 12, canvas.clientWidth - tip.offsetWidth - 4) + "px";
      tip.style.top = Math.max(0, Math.min(y + 12, canvas.clientHeight - tip.offsetHeight - 4)) + "px";
    });
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
    canvas.addEventListener("pointerdown", (event) => { drag = { x: event.clientX, y: event.clientY }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { drag = null; });
    canvas.addEventListener("pointercancel", () => { drag = null; });
    canvas.addEventListener("dblclick", reset);
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return; // the page scrolls until the picture was clicked
      event.preventDefault();
      const box = canvas.getBoundingClientRect(), { width, height } = inner();
      const at = { x: view.x0 + ((event.clientX - box.left - MARGIN.left) / width) * (view.x1 - view.x0),
        y: view.y1 - ((event.clientY - box.top - MARGIN.top) / height) * (view.y1 - view.y0) };
      zoom(event.deltaY < 0 ? 0.8 : 1.25, at);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const dx = 0.1 * (view.x1 - view.x0), dy = 0.1 * (view.y1 - view.y0);
      const keys = { ArrowLeft: () => move(-dx, 0), ArrowRight: () => move(dx, 0), ArrowUp: () => move(0, dy), ArrowDown: () => move(0, -dy),
        "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), 0: reset };
      if (!keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      marked = wanted ? found.filter((point) => String(names[point.i]).toLowerCase().includes(wanted)) : [];
      const exact = marked.filter((point) => String(names[point.i]).toLowerCase() === wanted);
      if (exact.length) marked = exact;
      const number = marked.length;
      marked = marked.slice(0, 200);
      status.textContent = !wanted ? "" : number === 1 ? words(marked[0].i).join(", ") : number.toLocaleString("en") + " genes match";
      draw();
    });
    new ResizeObserver(draw).observe(canvas);
    draw();
  };
})(window.xdelnx);
