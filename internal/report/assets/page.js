"use strict";
// Zoom, details and colours. The page is whole without: every picture and table
// is in the file, and what is drawn here comes from the data block beside them.
(() => {
const SVG = "http://www.w3.org/2000/svg";
// The measures of a ladder and of a graph, as report.ladder and report.graph have them.
const L = {width: 1000, least: 860, top: 14, head: 40, axis: 62, local: 424, remote: 650, gutterLocal: 402, gutterRemote: 672, row: 15, fold: 36, lettersLocal: 50, lettersFar: 49, dense: 400};
const G = {left: 92, top: 12, pad: 6, width: 1000 - 92 - 14, height: 320 - 12 - 28, fold: 26};
const CLASSES = ["out", "in", "out again", "in again", "rst", "drop"];
// The fields of a segment in the data block.
const [T, SIDE, CLASS, FLAGS, SEQ, ACK, SEQABS, ACKABS, WIN, WSCALE, LEN, TTL, CHECKSUM, NOTES, REASON, STATE, OPTIONS, FRAME, PEERSTATE] = Array(19).keys();

const root = document.documentElement;

function make(name, attributes, text) {
  const e = document.createElement(name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  if (text !== undefined) e.textContent = text;
  return e;
}
function draw(name, attributes, text) {
  const e = document.createElementNS(SVG, name);
  for (const key in attributes) e.setAttribute(key, attributes[key]);
  if (text !== undefined) e.textContent = text;
  return e;
}
const clamp = (n, low, high) => Math.min(Math.max(n, low), high);
const round = n => Math.round(n * 10) / 10;
const seconds = us => (us / 1e6).toFixed(6);
function span(us) {
  if (us < 1000) return us + " µs";
  if (us < 1e6) return +(us / 1e3).toPrecision(3) + " ms";
  if (us < 600e6) return +(us / 1e6).toPrecision(3) + " s";
  return Math.floor(us / 60e6) + " min " + Math.floor(us / 1e6 % 60) + " s";
}

// A Scale places moments along an axis, silences folded: report.timescale.
class Scale {
  constructor(data, folds, foldLength) {
    this.first = data.first; this.last = data.last; this.folds = folds; this.foldLength = foldLength;
    this.awake = this.last - this.first;
    for (const [from, to] of folds) this.awake -= to - from;
    this.awake = Math.max(this.awake, 1);
    this.perUS = 1;
  }
  fit(length) { this.perUS = Math.max(length - this.foldLength * this.folds.length, 1) / this.awake; }
  get length() { return this.awake * this.perUS + this.foldLength * this.folds.length; }
  at(us) {
    us = clamp(us, this.first, this.last);
    let place = 0, from = this.first;
    for (const [a, b] of this.folds) {
      if (us <= a) break;
      place += (a - from) * this.perUS;
      if (us < b) return place + this.foldLength * (us - a) / (b - a);
      place += this.foldLength;
      from = b;
    }
    return place + (us - from) * this.perUS;
  }
  // moment is the inverse of at.
  moment(place) {
    let from = this.first;
    for (const [a, b] of this.folds) {
      const awake = (a - from) * this.perUS;
      if (place <= awake) break;
      place -= awake;
      if (place < this.foldLength) return a + (b - a) * place / this.foldLength;
      place -= this.foldLength;
      from = b;
    }
    return clamp(from + place / this.perUS, this.first, this.last);
  }
  // ticks are round moments between two places, at least apart from each other.
  ticks(apart, low, high) {
    const step = niceStep(apart / this.perUS), list = [];
    let from = this.first;
    for (let i = 0; i <= this.folds.length; i++) {
      const to = i < this.folds.length ? this.folds[i][0] : this.last;
      const begin = Math.max(from, this.moment(low)), end = Math.min(to, this.moment(high));
      const add = us => {
        const place = this.at(us);
        if (!list.length || place - list[list.length - 1][0] >= apart * 0.9) list.push([place, tickText(us, step)]);
      };
      if (i > 0 && begin === from && begin <= end) add(from);
      for (let us = Math.ceil(begin / step) * step; us <= end && list.length < 400; us += step) add(us);
      if (i < this.folds.length) from = this.folds[i][1];
    }
    return list;
  }
}
function niceStep(want) {
  if (!(want > 1)) return 1;
  const power = 10 ** Math.floor(Math.log10(want));
  for (const n of [1, 2, 5]) if (n * power >= want) return n * power;
  return 10 * power;
}
function tickText(us, step) {
  if (step >= 100e3) return (us / 1e6).toFixed(step < 1e6 ? 1 : 0) + " s";
  let decimals = 3;
  for (let n = 10; n <= step && decimals > 0; n *= 10) decimals--;
  return (us / 1e3).toFixed(decimals) + " ms";
}

function arrow(x0, y0, x1, y1) {
  const long = 8, wide = 3.5, size = Math.hypot(x1 - x0, y1 - y0), dx = (x1 - x0) / size, dy = (y1 - y0) / size;
  return `M${round(x0)} ${round(y0)}L${round(x1)} ${round(y1)}M${round(x1 - long * dx + wide * dy)} ${round(y1 - long * dy - wide * dx)}L${round(x1)} ${round(y1)}L${round(x1 - long * dx - wide * dy)} ${round(y1 - long * dy + wide * dx)}`;
}

// A Connection is one section of the page, brought to life.
class Connection {
  constructor(section) {
    this.section = section;
    this.data = JSON.parse(section.querySelector("script.data").textContent);
    this.segments = this.data.segments;
    this.word = i => this.data.words[i];
    this.chosen = -1;
    this.ladder = new Ladder(this);
    const plots = section.querySelector(".plots");
    this.plots = plots ? new Plots(this, plots) : null;
  }
  notation(s) {
    const flags = this.word(s[FLAGS]);
    let text = `${flags} ${s[SEQ]}:${s[SEQ] + s[LEN]}(${s[LEN]})`;
    if (flags.includes(".")) text += ` ack ${s[ACK]}`;
    if (!flags.includes("R")) text += ` win ${s[WIN] * 2 ** s[WSCALE]}`;
    return text;
  }
  label(s) {
    const notes = this.word(s[NOTES]), text = this.notation(s);
    if (!notes) return text;
    return (notes.includes("window") ? text : text.replace(/ win \d+$/, "")) + ` [${notes}]`;
  }
  choose(i, reveal) {
    if (!this.segments.length) return;
    this.chosen = i < 0 ? -1 : clamp(i, 0, this.segments.length - 1);
    this.ladder.tell();
    if (reveal && this.chosen >= 0) this.ladder.reveal();
    this.ladder.draw();
    if (this.plots) this.plots.show();
  }
  // nearest is the segment at a moment, among those that fit.
  nearest(us, fits) {
    let best = -1;
    this.segments.forEach((s, i) => {
      if ((!fits || fits(s)) && (best < 0 || Math.abs(s[T] - us) < Math.abs(this.segments[best][T] - us))) best = i;
    });
    return best;
  }
  // details are what there is to say of a segment.
  details(i) {
    const s = this.segments[i], w = this.word;
    const rows = [["Time", seconds(s[T]) + " s"]];
    if (i > 0) rows.push(["Before it", span(s[T] - this.segments[i - 1][T]) + " of silence"]);
    if (s[FRAME]) rows.push(["Frame", s[FRAME]]);
    rows.push(["Flags", flagNames(w(s[FLAGS]))]);
    rows.push(["Sequence", `${s[SEQ]} to ${s[SEQ] + s[LEN]} (on the wire ${s[SEQABS]})`]);
    if (w(s[FLAGS]).includes(".")) rows.push(["Ack", `${s[ACK]} (on the wire ${s[ACKABS]})`]);
    rows.push(["Data", s[LEN] + (s[LEN] === 1 ? " octet" : " octets")]);
    rows.push(["Window", s[WSCALE] ? `${s[WIN] * 2 ** s[WSCALE]} octets (${s[WIN]} times ${2 ** s[WSCALE]})` : `${s[WIN]} octets`]);
    rows.push(["TTL", s[TTL]], ["Checksum", w(s[CHECKSUM])]);
    for (const [name, field] of [["Options", OPTIONS], ["Remarks", NOTES], ["Because", REASON], ["State", STATE], ["Its peer", PEERSTATE]]) {
      if (w(s[field])) rows.push([name, w(s[field])]);
    }
    return rows;
  }
}

function flagNames(letters) {
  const names = {S: "SYN", F: "FIN", R: "RST", P: "PSH", ".": "ACK", U: "URG", E: "ECE", W: "CWR", e: "AE"};
  return letters === "none" ? "none" : [...letters].map(l => names[l] || l).join(", ");
}

class Ladder {
  constructor(connection) {
    this.c = connection;
    const d = connection.data;
    const box = connection.section.querySelector(".ladder-box");
    const ends = box.querySelectorAll(".still text.name");
    this.names = [...ends].map(e => e.textContent);
    this.folded = true;
    this.scale = new Scale(d, d.folds, L.fold);
    this.items = this.gather();
    this.build(box);
    // Readable to begin with: about a row for each label, as the picture in the file.
    this.setScale(Math.max(this.readable(), this.wholeScale()));
    // Where the window is narrow, it begins with the lines of life.
    this.window.scrollLeft = (L.local + L.remote) / 2 * this.unit - this.window.clientWidth / 2;
    this.draw();
    new ResizeObserver(() => this.draw()).observe(this.window);
  }
  readable() {
    const rows = Math.max(this.items[0].length, this.items[1].length);
    this.scale.fit(clamp(rows * L.row * 1.25 + L.fold * this.scale.folds.length, 160, 3600));
    return this.scale.perUS;
  }
  build(box) {
    const live = make("div", {class: "live"}), left = make("div");
    const bar = make("div", {class: "toolbar", role: "group", "aria-label": "Zoom of the ladder"});
    const button = (text, label, act) => {
      const b = make("button", {type: "button", "aria-label": label, title: label}, text);
      b.addEventListener("click", act);
      bar.append(b);
      return b;
    };
    button("+", "Zoom in", () => this.zoom(1.6));
    button("−", "Zoom out", () => this.zoom(1 / 1.6));
    button("Whole", "Show the whole connection", () => this.whole());
    if (this.c.data.folds.length) {
      this.foldButton = button("Fold silences", "Fold silences", () => this.fold());
      this.foldButton.setAttribute("aria-pressed", "true");
    }
    this.told = make("span", {class: "hint"});
    bar.append(this.told);
    this.window = make("div", {class: "window", tabindex: "0", role: "application", "aria-label": "Ladder. Arrow keys choose a segment, plus and minus zoom, 0 shows all, Escape lets go."});
    this.svg = draw("svg", {class: "picture ladder", "aria-hidden": "true"});
    this.space = make("div", {class: "space"});
    this.window.append(this.svg, this.space);
    this.panel = make("div", {class: "details", role: "group", "aria-label": "Segment", "aria-live": "polite"});
    this.panel.append(make("p", {class: "quiet"}, "Click a segment, or put the focus on the ladder and press ↓. Plus and minus, or Ctrl and the wheel, zoom."));
    left.append(bar, this.window);
    live.append(left, this.panel);
    box.append(live);
    this.window.addEventListener("scroll", () => this.later());
    this.window.addEventListener("keydown", e => this.key(e));
    this.window.addEventListener("wheel", e => {
      if (!e.ctrlKey) return;
      e.preventDefault();
      this.zoom(e.deltaY < 0 ? 1.25 : 0.8, (e.clientY - this.window.getBoundingClientRect().top) / this.unit);
    }, {passive: false});
    this.svg.addEventListener("click", e => this.click(e));
  }
  // gather makes the labels of both gutters.
  gather() {
    const c = this.c, lists = [[], []];
    c.segments.forEach((s, i) => {
      const kind = c.word(s[CLASS]), flags = c.word(s[FLAGS]);
      lists[s[SIDE]].push({us: s[T], i, kind, text: c.label(s), weighty: kind !== "out" && kind !== "in" || /[SF]/.test(flags)});
    });
    for (const [us, kind, text, side] of c.data.marks) lists[side].push({us, i: -1, kind: c.word(kind), text: c.word(text), weighty: true});
    for (const list of lists) list.sort((a, b) => a.us - b.us);
    return lists;
  }
  get unit() { return Math.max(this.window.clientWidth, L.least) / L.width; } // pixels
  get height() { return this.window.clientHeight / this.unit; }
  get top() { return this.window.scrollTop / this.unit; }
  get total() { return L.head + L.top + this.trip + this.scale.length + L.row * 3; }
  place(us) { return L.head + L.top + this.trip + this.scale.at(us); }
  setScale(perUS) {
    const most = 4e6 / this.scale.awake, least = Math.min(60 / this.scale.awake, most);
    this.scale.perUS = clamp(perUS, least, Math.max(most, least));
    this.trip = this.c.data.trip * this.scale.perUS;
    const n = this.c.segments.length;
    this.ys = new Float64Array(n);
    for (let i = 0; i < n; i++) this.ys[i] = this.place(this.c.segments[i][T]);
    this.items.forEach((list, side) => {
      for (const l of list) l.want = this.place(l.us) - (side === 1 && l.i >= 0 ? this.trip : 0);
      list.sort((a, b) => a.want - b.want);
      spread(list);
    });
    this.space.style.height = Math.max(this.total * this.unit - this.window.clientHeight, 0) + "px";
  }
  zoom(factor, anchor) {
    if (anchor === undefined) {
      const y = this.c.chosen >= 0 ? this.ys[this.c.chosen] - this.top : -1;
      anchor = y > L.head && y < this.height ? y : this.height / 2;
    }
    const us = this.scale.moment(this.top + anchor - L.head - L.top - this.trip);
    this.setScale(this.scale.perUS * factor);
    this.window.scrollTop = (this.place(us) - anchor) * this.unit;
    this.draw();
  }
  wholeScale() {
    const room = this.height - L.head - L.top - L.row * 3 - this.scale.folds.length * L.fold - 4;
    return Math.max(room, 60) / (this.scale.awake + this.c.data.trip);
  }
  whole() {
    this.setScale(this.wholeScale());
    this.window.scrollTop = 0;
    this.draw();
  }
  fold() {
    const us = this.scale.moment(this.top + this.height / 2 - L.head - L.top - this.trip), perUS = this.scale.perUS;
    this.folded = !this.folded;
    this.scale = new Scale(this.c.data, this.folded ? this.c.data.folds : [], L.fold);
    this.foldButton.setAttribute("aria-pressed", String(this.folded));
    this.setScale(perUS);
    this.window.scrollTop = (this.place(us) - this.height / 2) * this.unit;
    this.draw();
  }
  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const c = this.c, last = c.segments.length - 1;
    const acts = {
      ArrowDown: () => c.choose(c.chosen + 1, true),
      ArrowUp: () => c.choose(c.chosen < 0 ? last : Math.max(c.chosen - 1, 0), true),
      Home: () => c.choose(0, true),
      End: () => c.choose(last, true),
      "+": () => this.zoom(1.6), "=": () => this.zoom(1.6), "-": () => this.zoom(1 / 1.6), "0": () => this.whole(),
      Escape: () => c.choose(-1),
    };
    if (!acts[e.key]) return;
    e.preventDefault();
    acts[e.key]();
  }
  click(e) {
    const box = this.window.getBoundingClientRect();
    const x = (e.clientX - box.left) / this.unit + this.window.scrollLeft / this.unit, y = (e.clientY - box.top) / this.unit + this.top;
    this.c.choose(this.hit(x, y));
  }
  // hit is the segment whose label or arrow is at a point.
  hit(x, y) {
    const near = x < L.local - 4, far = x > L.remote + 4;
    let best = -1, distance = 14;
    const consider = (i, d) => { if (d < distance) { best = i; distance = d; } };
    if (near || far) {
      for (const l of this.items[near ? 0 : 1]) if (l.i >= 0 && l.shown) consider(l.i, Math.abs(l.at - y));
      return best;
    }
    const part = (x - L.local) / (L.remote - L.local);
    for (let i = this.first(y - this.trip - 20); i < this.ys.length && this.ys[i] <= y + this.trip + 20; i++) {
      consider(i, Math.abs((this.c.segments[i][SIDE] === 0 ? this.ys[i] + this.trip * part : this.ys[i] - this.trip * part) - y));
    }
    return best;
  }
  // first is the first segment at or below a place.
  first(y) {
    let low = 0, high = this.ys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ys[middle] < y) low = middle + 1; else high = middle;
    }
    return low;
  }
  reveal() {
    const y = this.ys[this.c.chosen] - this.top;
    if (y < L.head + 30 || y > this.height - 40) this.window.scrollTop = (this.ys[this.c.chosen] - this.height / 2) * this.unit;
  }
  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }
  // draw draws what the window shows, and nothing else.
  draw() {
    const height = this.height, top = this.top, bottom = top + height;
    this.space.style.height = Math.max(this.total * this.unit - this.window.clientHeight, 0) + "px";
    this.svg.setAttribute("viewBox", `0 ${round(top)} ${L.width} ${round(height)}`);
    this.svg.style.height = this.window.clientHeight + "px";
    const parts = [this.grid(top, bottom), this.arrows(top, bottom), this.labels(top, bottom), this.head(top)];
    this.svg.replaceChildren(...parts);
    const a = this.scale.moment(top - L.top - this.trip), b = this.scale.moment(bottom - L.head - L.top - this.trip);
    this.told.textContent = `${seconds(a)} to ${seconds(b)} s`;
  }
  grid(top, bottom) {
    const g = draw("g", {class: "grid"}), zero = L.head + L.top + this.trip;
    let rules = "", folds = "", lives = "";
    for (const [place, text] of this.scale.ticks(60, top - zero, bottom - zero)) {
      rules += `M${L.axis} ${round(zero + place)}H${L.width}`;
      g.append(draw("text", {class: "end", x: L.axis - 6, y: round(zero + place + 4)}, text));
    }
    for (const [a, b] of this.scale.folds) {
      const y0 = this.place(a), y1 = this.place(b);
      if (y1 < top || y0 > bottom) continue;
      for (const part of [0.35, 0.65]) for (const x of [L.local, L.remote]) folds += tear(x, y0 + (y1 - y0) * part);
      g.append(draw("text", {class: "mid silence", x: (L.local + L.remote) / 2, y: round((y0 + y1) / 2 + 4)}, span(b - a) + " of silence"));
    }
    for (const x of [L.local, L.remote]) lives += `M${x} ${round(Math.max(top, L.head))}V${round(Math.min(bottom, this.total))}`;
    g.prepend(draw("path", {class: "rule", d: rules}), draw("path", {class: "life", d: lives}), this.bands(top, bottom),
      draw("path", {class: "gap", d: folds}), draw("path", {class: "fold", d: folds}));
    return g;
  }
  bands(top, bottom) {
    const g = draw("g", {class: "bands"}), c = this.c;
    for (const side of [0, 1]) {
      const list = c.data.states.filter(s => s[2] === side);
      list.forEach(([us, band], i) => {
        const from = Math.max(this.place(us), top), to = Math.min(i + 1 < list.length ? Math.max(this.place(list[i + 1][0]), this.place(us) + 2) : this.total, bottom);
        if (c.word(band) && from < to) g.append(draw("path", {class: "band " + c.word(band), d: `M${side ? L.remote : L.local} ${round(from)}V${round(to)}`}));
      });
    }
    return g;
  }
  arrows(top, bottom) {
    const g = draw("g", {class: "arrows"}), c = this.c, paths = {}, last = {};
    let chosen = null, drawn = 0;
    for (let i = this.first(top - this.trip - 10); i < this.ys.length && this.ys[i] <= bottom + this.trip + 10; i++) {
      const s = c.segments[i], kind = c.word(s[CLASS]), y = this.ys[i];
      const line = s[SIDE] === 0 ? [L.local, y, L.remote, y + this.trip] : [L.remote, y - this.trip, L.local, y];
      if (i === c.chosen) chosen = draw("path", {class: "chosen-arrow", d: arrow(...line)});
      if (y - last[kind] < 0.5) continue; // it would be the same line
      last[kind] = y;
      drawn++;
      paths[kind] = (paths[kind] || "") + arrow(...line);
      if (kind === "drop") paths[kind] += cross(line[0] + (line[2] - line[0]) * 0.85, line[1] + (line[3] - line[1]) * 0.85);
    }
    for (const kind of CLASSES) if (paths[kind]) g.append(draw("path", {class: "seg " + kind, d: paths[kind]}));
    if (chosen) g.append(chosen);
    if (drawn > L.dense) g.classList.add("dense");
    return g;
  }
  labels(top, bottom) {
    const g = draw("g", {class: "labels"});
    let leaders = "";
    this.items.forEach((list, side) => {
      const x = side ? L.gutterRemote : L.gutterLocal, life = side ? L.remote + 4 : L.local - 4, toward = side ? -4 : 4;
      for (const l of list) {
        if (!l.shown || l.at < top - 20 || l.at > bottom + 20) continue;
        leaders += `M${life} ${round(l.want)}L${x + toward} ${round(l.at)}`;
        const chosen = l.i >= 0 && l.i === this.c.chosen ? " chosen" : "";
        g.append(draw("text", {class: (side ? "" : "end ") + "note " + l.kind + chosen, x, y: round(l.at + 4)}, short(l.text, l.hidden, side ? L.lettersFar : L.lettersLocal)));
      }
    });
    g.prepend(draw("path", {class: "leader", d: leaders}));
    return g;
  }
  head(top) {
    const g = draw("g", {class: "head"});
    g.append(draw("rect", {class: "cover", x: 0, y: round(top), width: L.width, height: L.head - 6}));
    [L.local, L.remote].forEach((x, i) => g.append(draw("text", {class: "mid name", x, y: round(top + 22)}, this.names[i])));
    return g;
  }
  tell() {
    const i = this.c.chosen;
    this.panel.replaceChildren();
    if (i < 0) {
      this.panel.append(make("p", {class: "quiet"}, "No segment is chosen."));
      return;
    }
    const s = this.c.segments[i], from = this.names[s[SIDE]], to = this.names[1 - s[SIDE]];
    this.panel.append(make("h4", {}, `Segment ${i + 1} of ${this.c.segments.length}`));
    this.panel.append(make("p", {class: "mono"}, `${from} → ${to}`), make("p", {class: "mono said"}, this.c.notation(s)));
    const list = make("dl", {});
    for (const [name, value] of this.c.details(i)) list.append(make("dt", {}, name), make("dd", {}, value));
    this.panel.append(list);
  }
}

// spread moves labels down where they would stand on each other: report.spread.
function spread(list) {
  const far = (list.length > 80 ? 3 : 8) * L.row, limit = new Float64Array(list.length);
  let next = Infinity;
  for (let i = list.length - 1; i >= 0; i--) {
    limit[i] = next;
    if (list[i].weighty) next = list[i].want;
  }
  let free = -Infinity, last = null;
  list.forEach((l, i) => {
    l.hidden = 0; l.shown = false; l.at = Math.max(l.want, free);
    if (l.at - l.want > (l.weighty ? 2 * far : far) || !l.weighty && l.at + L.row > limit[i] + far) {
      if (last) last.hidden++;
      return;
    }
    l.shown = true; last = l; free = l.at + L.row;
  });
}
function short(text, hidden, letters) {
  const more = hidden ? ` (+${hidden})` : "", room = letters - more.length;
  return (text.length > room ? text.slice(0, room - 1) + "…" : text) + more;
}
const tear = (x, y) => `M${x - 12} ${round(y + 3)}L${x - 4} ${round(y - 3)}L${x + 4} ${round(y + 3)}L${x + 12} ${round(y - 3)}`;
const cross = (x, y) => `M${round(x - 4.5)} ${round(y - 4.5)}l9 9M${round(x - 4.5)} ${round(y + 4.5)}l9 -9`;

// Plots are the graphs and the lanes of timers: one axis of time for all.
class Plots {
  constructor(connection, box) {
    this.c = connection;
    this.box = box;
    this.scale = new Scale(connection.data, connection.data.folds, G.fold);
    this.scale.fit(G.width - 2 * G.pad);
    this.stretch = 1; // how much wider than the picture
    this.shift = 0; // what is left of the picture, in its units
    let graphs = 0;
    this.pictures = [...box.querySelectorAll("svg.graph, svg.lanes")].map(svg => {
      const frame = svg.querySelector("svg.frame"), line = draw("path", {class: "chosen-line"});
      frame.append(line);
      const data = svg.classList.contains("graph") ? connection.data.graphs[graphs++] : null;
      return {svg, frame, line, data, plot: svg.querySelector("g.plot"), times: svg.querySelector("g.times"), scale: svg.querySelector("g.scale"), bottom: svg.viewBox.baseVal.height};
    });
    for (const p of this.pictures) if (p.data) p.still = [p.plot, p.scale].map(g => [...g.childNodes]);
    this.build();
    this.apply();
  }
  build() {
    const bar = make("div", {class: "toolbar", role: "group", "aria-label": "Zoom of the graphs"});
    for (const [text, label, act] of [
      ["+", "Zoom in", () => this.zoom(1.6)], ["−", "Zoom out", () => this.zoom(1 / 1.6)],
      ["←", "Earlier", () => this.pan(-0.25)], ["→", "Later", () => this.pan(0.25)], ["Whole", "Show the whole connection", () => this.whole()],
    ]) {
      const b = make("button", {type: "button", "aria-label": label, title: label}, text);
      b.addEventListener("click", act);
      bar.append(b);
    }
    this.told = make("span", {class: "hint"});
    bar.append(this.told);
    this.box.querySelector("h3").after(bar);
    for (const p of this.pictures) {
      p.svg.parentElement.addEventListener("keydown", e => this.key(e));
      p.svg.addEventListener("wheel", e => {
        if (!e.ctrlKey) return;
        e.preventDefault();
        this.zoom(e.deltaY < 0 ? 1.25 : 0.8, this.x(p, e));
      }, {passive: false});
      this.drag(p);
    }
  }
  // x is where in the plot an event of the mouse is, in units of the picture.
  x(p, e) {
    const box = p.svg.getBoundingClientRect();
    return (e.clientX - box.left) / box.width * L.width - G.left;
  }
  drag(p) {
    let from = null;
    p.frame.addEventListener("pointerdown", e => {
      from = {x: this.x(p, e), shift: this.shift, moved: false};
    });
    p.frame.addEventListener("pointermove", e => {
      if (!from || !(e.buttons & 1)) return;
      const by = this.x(p, e) - from.x;
      if (Math.abs(by) > 4) from.moved = true;
      if (from.moved) { this.shift = from.shift - by; this.later(); }
    });
    p.frame.addEventListener("click", e => {
      const moved = from && from.moved;
      from = null;
      if (!moved) this.click(p, e);
    });
  }
  click(p, e) {
    const us = this.scale.moment((this.x(p, e) + this.shift) / this.stretch - G.pad);
    this.c.choose(this.c.nearest(us), true);
  }
  key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    const acts = {"+": () => this.zoom(1.6), "=": () => this.zoom(1.6), "-": () => this.zoom(1 / 1.6), "0": () => this.whole(), ArrowLeft: () => this.pan(-0.1), ArrowRight: () => this.pan(0.1)};
    if (!acts[e.key]) return;
    e.preventDefault();
    acts[e.key]();
  }
  zoom(factor, anchor = G.width / 2) {
    const before = this.stretch;
    this.stretch = clamp(this.stretch * factor, 1, Math.max(this.scale.awake / 20, 1));
    this.shift = (this.shift + anchor) * this.stretch / before - anchor;
    this.apply();
  }
  later() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.apply(); });
  }
  pan(part) { this.shift += G.width * part; this.apply(); }
  whole() { this.stretch = 1; this.shift = 0; this.apply(); }
  apply() {
    this.shift = clamp(this.shift, 0, G.width * (this.stretch - 1));
    const low = this.shift / this.stretch, high = (this.shift + G.width) / this.stretch;
    const ticks = this.scale.ticks(86 / this.stretch, low - G.pad, high - G.pad);
    for (const p of this.pictures) {
      if (p.data) this.graph(p, low, high);
      else p.plot.setAttribute("transform", `translate(${-this.shift} 0) scale(${this.stretch} 1)`);
      p.times.replaceChildren();
      let rules = "";
      for (const [place, text] of ticks) {
        const x = G.left + (place + G.pad) * this.stretch - this.shift;
        if (x < G.left || x > G.left + G.width) continue;
        if (p.data) rules += `M${round(x)} 12V${p.bottom - 24}`;
        p.times.append(draw("text", {class: "mid", x: round(clamp(x, G.left + 20, L.width - 34)), y: p.bottom - 8}, text));
      }
      p.times.prepend(draw("path", {class: "rule", d: rules}));
    }
    this.told.textContent = `${seconds(this.scale.moment(low - G.pad))} to ${seconds(this.scale.moment(high - G.pad))} s`;
    this.mark();
  }
  // graph draws what the window shows of a graph, with its own range of
  // sequence numbers; the whole is the picture of the file.
  graph(p, low, high) {
    if (this.stretch === 1) {
      p.plot.replaceChildren(...p.still[0]);
      p.scale.replaceChildren(...p.still[1]);
      return;
    }
    const from = this.scale.moment(low - G.pad), to = this.scale.moment(high - G.pad), d = p.data;
    const bars = within(d.bars, from, to), sacks = within(d.sacks, from, to);
    const acks = lasting(d.acks, from, to), edges = lasting(d.edges, from, to), shut = d.shut.filter(s => s[0] <= to && s[1] >= from);
    let bottom = Infinity, top = -Infinity;
    const see = n => { bottom = Math.min(bottom, n); top = Math.max(top, n); };
    for (const b of [...bars, ...sacks]) { see(b[1]); see(b[2]); }
    for (const a of acks) see(a[1]);
    for (const s of shut) see(s[2]);
    if (bottom > top) { bottom = 0; top = d.high; }
    const most = top + 2 * Math.max(top - bottom, 1);
    for (const e of edges) if (e[1] <= most) see(e[1]);
    const room = Math.max(top - bottom, 1) * 0.06;
    bottom -= room; top += room;
    const x = us => round((this.scale.at(us) + G.pad) * this.stretch - this.shift);
    const y = seq => round(G.height - (seq - bottom) / (top - bottom) * G.height);
    const bar = b => {
      let y0 = y(b[1]), y1 = y(b[2]);
      if (y0 - y1 < 2) { y0++; y1--; }
      return `M${x(b[0])} ${y0}V${y1}`;
    };
    const steps = list => list.map((a, i) => i ? `H${x(a[0])}V${y(a[1])}` : `M${x(a[0])} ${y(a[1])}`).join("") + (list.length ? `H${G.width}` : "");
    const fold = ([a, b]) => [0.4, 0.6].map(part => `M${round(x(a) + (x(b) - x(a)) * part)} 0V${G.height}`).join("");
    p.plot.replaceChildren(
      draw("path", {class: "fold", d: this.c.data.folds.map(fold).join("")}),
      draw("path", {class: "edge", d: steps(edges)}), draw("path", {class: "ack", d: steps(acks)}), draw("path", {class: "shut", d: shut.map(s => `M${x(s[0])} ${y(s[2])}H${Math.max(x(s[1]), x(s[0]) + 1)}`).join("")}), draw("path", {class: "sack", d: sacks.map(bar).join("")}),
      draw("path", {class: "data", d: bars.filter(b => !b[3]).map(bar).join("")}), draw("path", {class: "resent", d: bars.filter(b => b[3]).map(bar).join("")}));
    const step = niceStep((top - bottom) / (G.height / 44)), texts = [];
    let rules = "";
    for (let seq = Math.max(Math.ceil(bottom / step) * step, 0); seq <= top && texts.length < 30; seq += step) {
      rules += `M${G.left} ${G.top + y(seq)}H${G.left + G.width}`;
      texts.push(draw("text", {class: "end", x: G.left - 8, y: round(G.top + y(seq) + 4)}, String(seq).replace(/\B(?=(\d{3})+$)/g, "\u202f")));
    }
    p.scale.replaceChildren(draw("path", {class: "rule", d: rules}), ...texts);
  }
  // show marks the chosen segment, and moves there.
  show() {
    const i = this.c.chosen;
    if (i >= 0 && this.stretch > 1) {
      const x = (this.scale.at(this.c.segments[i][T]) + G.pad) * this.stretch - this.shift;
      if (x < 10 || x > G.width - 10) {
        this.shift += x - G.width / 2;
        this.apply();
        return;
      }
    }
    this.mark();
  }
  mark() {
    const i = this.c.chosen;
    for (const p of this.pictures) {
      p.line.setAttribute("d", i < 0 ? "" : `M${round((this.scale.at(this.c.segments[i][T]) + G.pad) * this.stretch - this.shift)} 0V${p.bottom}`);
    }
  }
}

// within are the entries of a list between two moments; lasting has also the
// one before, which holds until the next.
const within = (list, from, to) => list.filter(e => e[0] >= from && e[0] <= to);
function lasting(list, from, to) {
  let first = 0;
  while (first + 1 < list.length && list[first + 1][0] < from) first++;
  return list.slice(first).filter(e => e[0] <= to);
}

function colours() {
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.addEventListener("click", () => {
      const choice = button.dataset.themeChoice;
      if (choice === "auto") delete root.dataset.theme; else root.dataset.theme = choice;
      for (const b of document.querySelectorAll("[data-theme-choice]")) b.setAttribute("aria-pressed", String(b === button));
    });
  }
}
function copying() {
  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", async () => {
      const text = button.parentElement.querySelector("pre");
      try {
        await navigator.clipboard.writeText(text.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(text);
        button.textContent = "Selected";
      }
    });
  }
}

colours();
copying();
// A section comes to life when it comes near: a page of many opens at once.
const seen = new IntersectionObserver(entries => {
  for (const e of entries) {
    if (!e.isIntersecting) continue;
    seen.unobserve(e.target);
    e.target.connection = new Connection(e.target);
    e.target.classList.add("alive");
  }
}, {rootMargin: "600px"});
for (const section of document.querySelectorAll("section.conn")) seen.observe(section);
})();
