// Maps of points. Each <section class="scatter"> of the page becomes one; see templates/scatter.html.
// Text from the data goes in by textContent alone.
(() => {
"use strict";

const RADIUS = 4;        // of a dot, in CSS pixels, when all are in view
const REACH = 12;        // how far from a dot's centre the pointer may be
const CELLS = 96;        // of the grid that answers "which dot is here", per side
const MOST_ZOOM = 400;
const REST = 120;        // milliseconds after which a zoom is over
const MARGIN = 0.3;      // of the view, drawn beyond each of its sides
const PICTURE = 160;     // CSS pixels of the picture beside the pointer

const dark = window.matchMedia("(prefers-color-scheme: dark)");

function trace(context, shape, x, y, r) {
  context.beginPath();
  if (shape === "square") context.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  else if (shape === "triangle") { context.moveTo(x, y - 1.15 * r); context.lineTo(x + 1.1 * r, y + 0.85 * r); context.lineTo(x - 1.1 * r, y + 0.85 * r); context.closePath(); }
  else if (shape === "diamond") { context.moveTo(x, y - 1.25 * r); context.lineTo(x + 1.25 * r, y); context.lineTo(x, y + 1.25 * r); context.lineTo(x - 1.25 * r, y); context.closePath(); }
  else context.arc(x, y, r, 0, 2 * Math.PI);
}

function stamp(kind, r, ratio, onDark) {
  const side = Math.ceil((2 * r + 4) * ratio);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  trace(context, kind.shape, side / 2, side / 2, r * ratio);
  context.fillStyle = kind.colour;
  context.fill();
  // A thin edge keeps dots apart where they overlap, and dark ones visible on a dark page.
  context.lineWidth = 0.8 * ratio;
  context.strokeStyle = onDark ? "rgba(255,255,255,0.45)" : "rgba(0,0,0,0.3)";
  context.stroke();
  return canvas;
}

class Scatter {
  constructor(root) {
    this.root = root;
    this.data = JSON.parse(document.getElementById(root.dataset.scatter).textContent);
    this.stage = root.querySelector(".scatter-stage");
    this.canvas = this.stage.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.tip = root.querySelector(".scatter-tip");
    this.picture = root.querySelector(".scatter-picture");
    this.status = root.querySelector(".scatter-status");
    const { x, y, classes, legend } = this.data;
    this.count = x.length;
    this.x = Float64Array.from(x);
    this.y = Float64Array.from(y);
    const entry = new Map(legend.map((kind, i) => [kind.number, i]));
    this.kind = Uint16Array.from(classes, (number) => entry.get(number));
    this.shown = legend.map(() => true);
    this.hurried = 0;
    this.version = 0;  // of what is shown
    this.layer = document.createElement("canvas");
    this.sheets = new Map();
    this.current = -1;
    this.pointers = new Map();
    this.bounds();
    this.index();
    // Shuffled with a fixed seed, so that no class always lies on top of the others.
    this.order = Uint32Array.from(this.x, (_, i) => i);
    for (let i = this.count - 1, seed = 1; i > 0; i--) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const j = seed % (i + 1);
      [this.order[i], this.order[j]] = [this.order[j], this.order[i]];
    }
    this.legend();
    this.listen();
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.resize();
  }

  bounds() {
    let [left, right, top, bottom] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < this.count; i++) {
      left = Math.min(left, this.x[i]); right = Math.max(right, this.x[i]);
      top = Math.min(top, this.y[i]); bottom = Math.max(bottom, this.y[i]);
    }
    if (!this.count) left = right = top = bottom = 0;
    this.middle = [(left + right) / 2, (top + bottom) / 2];
    this.extent = [Math.max(right - left, 1), Math.max(bottom - top, 1)];
    this.corner = [left, top];
    this.cell = Math.max(...this.extent) / CELLS;
  }

  // Points by cell of a grid over the data, as one sorted list with where each cell begins.
  index() {
    this.columns = Math.floor(this.extent[0] / this.cell) + 1;
    this.lines = Math.floor(this.extent[1] / this.cell) + 1;
    const cells = Uint32Array.from(this.x, (x, i) => this.column(x) + this.columns * this.line(this.y[i]));
    this.begins = new Uint32Array(this.columns * this.lines + 1);
    for (const cell of cells) this.begins[cell + 1]++;
    for (let i = 1; i < this.begins.length; i++) this.begins[i] += this.begins[i - 1];
    const next = this.begins.slice();
    this.sorted = new Uint32Array(this.count);
    cells.forEach((cell, i) => { this.sorted[next[cell]++] = i; });
  }

  column(x) { return Math.min(this.columns - 1, Math.max(0, Math.floor((x - this.corner[0]) / this.cell))); }
  line(y) { return Math.min(this.lines - 1, Math.max(0, Math.floor((y - this.corner[1]) / this.cell))); }

  // Calls back with every shown point in a rectangle of the data.
  within(left, top, right, bottom, call) {
    const [first, last] = [this.column(left), this.column(right)];
    for (let line = this.line(top); line <= this.line(bottom); line++) {
      const begin = this.begins[line * this.columns + first], end = this.begins[line * this.columns + last + 1];
      for (let k = begin; k < end; k++) {
        const i = this.sorted[k];
        if (this.shown[this.kind[i]] && this.x[i] >= left && this.x[i] <= right && this.y[i] >= top && this.y[i] <= bottom) call(i);
      }
    }
  }

  fit() {
    const room = 2 * (RADIUS + 8);
    this.least = Math.min((this.width - room) / this.extent[0], (this.height - room) / this.extent[1]);
    if (!(this.least > 0)) this.least = 1e-3;
  }

  reset() {
    this.scale = this.least;
    this.centre = [...this.middle];
    this.draw();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    const zoom = this.scale ? this.scale / this.least : 1;
    Object.assign(this, { width, height, ratio });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.fit();
    this.scale = this.least * zoom;
    this.centre ??= [...this.middle];
    this.draw();
  }

  toScreen(i) { return [(this.x[i] - this.centre[0]) * this.scale + this.width / 2, (this.y[i] - this.centre[1]) * this.scale + this.height / 2]; }
  toData(x, y) { return [(x - this.width / 2) / this.scale + this.centre[0], (y - this.height / 2) / this.scale + this.centre[1]]; }
  radius() {
    const room = Math.min(1, Math.max(0.6, this.width / 700)) * (this.count > 3000 ? 0.75 : 1);
    return RADIUS * room * Math.min(3, Math.max(1, Math.sqrt(this.scale / this.least)));
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.paint(); });
  }

  paint(print = false) {
    if (!this.width) return;
    const { context, ratio, canvas } = this;
    const onDark = dark.matches && !print;
    const r = this.radius();
    const size = [canvas.width, canvas.height];
    const key = [ratio, onDark, this.version, ...size].join(" ");
    // Where the layer lies, and how much it has to grow, to show what it was filled with.
    const grown = this.drawn?.key === key ? this.scale / this.drawn.scale : 0;
    const places = size.map((n, axis) => grown && [
      n / 2 + (this.drawn.centre[axis] - this.centre[axis]) * this.scale * ratio - grown * (0.5 + MARGIN) * n,
      grown * (1 + 2 * MARGIN) * n,
    ]);
    const covers = grown && places.every(([from, length], axis) => from <= 0 && from + length >= size[axis]);
    const hurried = performance.now() < this.hurried && grown < 3;
    if (!covers || (grown !== 1 && !hurried)) {
      this.drawn = { key, scale: this.scale, centre: [...this.centre] };
      this.fill(r, onDark);
      size.forEach((n, axis) => { places[axis] = [-MARGIN * n, (1 + 2 * MARGIN) * n]; });
    }
    context.clearRect(0, 0, ...size);
    const [[left, width], [top, height]] = places;
    if (grown === 1 || !hurried) context.drawImage(this.layer, Math.round(left), Math.round(top));
    else context.drawImage(this.layer, left, top, width, height);
    if (this.current >= 0) {
      const [x, y] = this.toScreen(this.current), kind = this.data.legend[this.kind[this.current]];
      trace(context, kind.shape, x * ratio, y * ratio, (r + 2) * ratio);
      context.fillStyle = kind.colour;
      context.fill();
      context.lineWidth = 2.5 * ratio;
      context.strokeStyle = onDark ? "#ffffff" : "#000000";
      context.stroke();
      this.place(x, y);
    }
  }

  // All dots of the view and a margin around it, once for many frames of panning.
  fill(r, onDark) {
    const { canvas, layer, ratio } = this;
    layer.width = Math.ceil(canvas.width * (1 + 2 * MARGIN));
    layer.height = Math.ceil(canvas.height * (1 + 2 * MARGIN));
    const context = layer.getContext("2d"), [right, bottom] = [layer.width, layer.height];
    const dots = this.data.legend.map((kind) => stamp(kind, r, ratio, onDark));
    const side = dots.length ? dots[0].width : 0, scale = this.scale * ratio;
    const dx = canvas.width * (0.5 + MARGIN) - side / 2 - this.centre[0] * scale;
    const dy = canvas.height * (0.5 + MARGIN) - side / 2 - this.centre[1] * scale;
    for (const i of this.order) {
      if (!this.shown[this.kind[i]]) continue;
      const x = this.x[i] * scale + dx, y = this.y[i] * scale + dy;
      if (x > -side && y > -side && x < right && y < bottom) context.drawImage(dots[this.kind[i]], Math.round(x), Math.round(y));
    }
  }

  nearest(x, y) {
    const [left, top] = this.toData(x - REACH, y - REACH), [right, bottom] = this.toData(x + REACH, y + REACH);
    let best = -1, least = REACH * REACH;
    this.within(left, top, right, bottom, (i) => {
      const [px, py] = this.toScreen(i), distance = (px - x) ** 2 + (py - y) ** 2;
      if (distance <= least) { least = distance; best = i; }
    });
    return best;
  }

  select(i, spoken = false) {
    if (i === this.current) return;
    this.current = i;
    this.tip.hidden = i < 0;
    if (i >= 0) {
      const { ids, legend, details } = this.data, kind = legend[this.kind[i]].name;
      this.tip.querySelector(".scatter-class").textContent = kind;
      this.tip.querySelector(".scatter-id").textContent = ids[i];
      this.tip.querySelector(".scatter-detail").textContent = details ? details[i] : "";
      this.show(i);
      if (spoken) this.status.textContent = [kind, ids[i], details && details[i]].filter(Boolean).join(" · ");
    }
    if (!spoken) this.status.textContent = "";
    this.draw();
  }

  // Beside the dot, within the stage.
  place(x, y) {
    const { offsetWidth: width, offsetHeight: height } = this.tip;
    const left = x + 16 + width < this.width ? x + 16 : x - 16 - width;
    const top = y + 16 + height < this.height ? y + 16 : y - 16 - height;
    this.tip.style.transform = `translate(${Math.max(4, Math.min(left, this.width - width - 4))}px, ${Math.max(4, Math.min(top, this.height - height - 4))}px)`;
  }

  async show(i) {
    const { sprites, ids } = this.data;
    const number = sprites ? sprites.place[i] : -1;
    this.picture.hidden = number < 0;
    delete this.picture.dataset.shows;
    if (number < 0) return;
    const each = sprites.columns * sprites.columns, sheet = Math.floor(number / each), inside = number % each;
    const tile = sprites.tiles[sheet], at = sprites.sizes.length > 2 ? 2 * number : 0;
    const [width, height] = [sprites.sizes[at], sprites.sizes[at + 1]];
    // Small pictures grow by a whole factor, pixel by pixel; others are shown as they are.
    const small = Math.max(width, height) <= sprites.small;
    const factor = small ? Math.max(1, Math.floor(PICTURE / Math.max(width, height, 1))) : 1;
    this.picture.width = width;
    this.picture.height = height;
    this.picture.style.width = `${width * factor}px`;
    this.picture.classList.toggle("pixelated", small);
    this.picture.setAttribute("aria-label", `image ${ids[i]}`);
    const image = await this.sheet(sheet);
    if (this.current !== i || !image) return;
    const left = inside % sprites.columns * tile, top = Math.floor(inside / sprites.columns) * tile;
    this.picture.getContext("2d").drawImage(image, left, top, width, height, 0, 0, width, height);
    this.picture.dataset.shows = ids[i];
  }

  sheet(number) {
    if (!this.sheets.has(number)) {
      const image = new Image();
      image.src = this.data.sprites.sheets[number];
      this.sheets.set(number, image.decode().then(() => image, () => null));
    }
    return this.sheets.get(number);
  }

  zoom(factor, x = this.width / 2, y = this.height / 2) {
    // While a zoom goes on, the layer grows as an image; sharp dots follow when it rests.
    this.hurried = performance.now() + REST;
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this.draw(), REST + 10);
    const before = this.toData(x, y);
    this.scale = Math.min(this.least * MOST_ZOOM, Math.max(this.least * 0.5, this.scale * factor));
    const after = this.toData(x, y);
    this.move(after[0] - before[0], after[1] - before[1]);
  }

  // By numbers of the data; the middle of the view stays over the points.
  move(dx, dy) {
    for (const [axis, d] of [[0, dx], [1, dy]]) {
      const low = this.corner[axis], high = low + this.extent[axis];
      this.centre[axis] = Math.min(high, Math.max(low, this.centre[axis] - d));
    }
    this.draw();
  }

  reveal(i) {
    const [x, y] = this.toScreen(i), margin = 6;
    if (x < margin || y < margin || x > this.width - margin || y > this.height - margin) this.centre = [this.x[i], this.y[i]];
  }

  step(by) {
    const [left, top] = this.toData(0, 0), [right, bottom] = this.toData(this.width, this.height);
    const seen = [];
    this.within(left, top, right, bottom, (i) => seen.push(i));
    if (!seen.length) return;
    seen.sort((a, b) => a - b);
    let at = seen.indexOf(this.current);
    if (at < 0) at = by > 0 ? seen.findIndex((i) => i > this.current) - 1 : seen.length;
    this.select(seen[(at + by + seen.length) % seen.length], true);
  }

  // The nearest point within 45° of a direction.
  leap(dx, dy) {
    if (this.current < 0) return this.step(1);
    const { current } = this;
    let best = -1, least = Infinity;
    for (let i = 0; i < this.count; i++) {
      const [x, y] = [this.x[i] - this.x[current], this.y[i] - this.y[current]];
      const along = x * dx + y * dy, across = Math.abs(x * dy) + Math.abs(y * dx), distance = x * x + y * y;
      if (this.shown[this.kind[i]] && along > 0 && across <= along && distance < least) { least = distance; best = i; }
    }
    if (best >= 0) { this.reveal(best); this.select(best, true); }
  }

  key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = arrows[event.key], far = 60 / this.scale;
    if (arrow && event.shiftKey) this.leap(...arrow);
    else if (arrow) this.move(-arrow[0] * far, -arrow[1] * far);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-" || event.key === "_") this.zoom(1 / 1.4);
    else if (event.key === "0") this.reset();
    else if (event.key === "n" || event.key === "N") this.step(1);
    else if (event.key === "p" || event.key === "P") this.step(-1);
    else if (event.key === "Escape") this.select(-1);
    else return;
    event.preventDefault();
  }

  listen() {
    const { canvas, pointers } = this;
    const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("wheel", (event) => {
      const wanted = this.root.dataset.wheel !== "focus" || event.ctrlKey || document.activeElement === canvas;
      if (!wanted) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 33 : event.deltaMode === 2 ? 400 : 1;
      this.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), ...at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, at(event));
      this.travelled = 0;
      canvas.classList.add("dragging");
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = at(event), before = pointers.get(event.pointerId);
      if (!before) return this.select(this.nearest(...now));
      this.travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      if (pointers.size === 1) this.move((now[0] - before[0]) / this.scale, (now[1] - before[1]) / this.scale);
      else if (pointers.size === 2) {
        const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const grown = Math.hypot(now[0] - other[0], now[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1]));
        this.zoom(grown, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
        this.move((now[0] - before[0]) / 2 / this.scale, (now[1] - before[1]) / 2 / this.scale);
      }
      pointers.set(event.pointerId, now);
    });
    const release = (event) => {
      const tapped = pointers.size === 1 && pointers.has(event.pointerId) && this.travelled < 6 && event.type === "pointerup";
      pointers.delete(event.pointerId);
      if (!pointers.size) canvas.classList.remove("dragging");
      if (tapped) this.select(this.nearest(...at(event)));
    };
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse" && !pointers.size) this.select(-1); });
    this.root.querySelectorAll("button[data-do]").forEach((button) => button.addEventListener("click", () => {
      const acts = { in: () => this.zoom(1.4), out: () => this.zoom(1 / 1.4), reset: () => this.reset(), all: () => this.choose(true), none: () => this.choose(false) };
      acts[button.dataset.do]();
    }));
    dark.addEventListener("change", () => this.draw());
    window.addEventListener("beforeprint", () => this.paint(true));
    window.addEventListener("afterprint", () => this.draw());
  }

  legend() {
    const box = this.root.querySelector(".scatter-classes"), find = this.root.querySelector("input[type=search]");
    const counts = new Uint32Array(this.shown.length);
    for (const kind of this.kind) counts[kind]++;
    this.boxes = this.data.legend.map((kind, i) => {
      const label = document.createElement("label"), input = document.createElement("input");
      const swatch = document.createElement("canvas"), name = document.createElement("span"), count = document.createElement("small");
      input.type = "checkbox";
      input.checked = true;
      input.addEventListener("change", () => { this.shown[i] = input.checked; this.filtered(); });
      swatch.width = swatch.height = 32;
      swatch.setAttribute("aria-hidden", "true");
      const context = swatch.getContext("2d");
      trace(context, kind.shape, 16, 16, 11);
      context.fillStyle = kind.colour;
      context.fill();
      name.textContent = kind.name;
      count.textContent = counts[i].toLocaleString("en");
      label.append(input, swatch, name, count);
      box.append(label);
      return { label, input, name: kind.name.toLowerCase() };
    });
    find.hidden = this.boxes.length <= 20;
    find.addEventListener("input", () => {
      for (const { label, name } of this.boxes) label.hidden = !name.includes(find.value.toLowerCase());
    });
  }

  // All or none, of those classes that the search leaves in the list.
  choose(shown) {
    this.boxes.forEach(({ label, input }, i) => { if (!label.hidden) input.checked = this.shown[i] = shown; });
    this.filtered();
  }

  filtered() {
    this.version++;
    if (this.current >= 0 && !this.shown[this.kind[this.current]]) this.select(-1);
    this.draw();
  }
}

document.querySelectorAll(".scatter").forEach((root) => { root.scatter = new Scatter(root); });
})();
