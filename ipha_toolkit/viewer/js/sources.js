// Where slices come from: the kernel, or the copy that travels with an exported page.
import {Grid, PLANES} from "./geometry.js";

const CACHE_BYTES = 72e6;

class Cache {
  constructor(limit) { this.map = new Map(); this.bytes = 0; this.limit = limit; }
  get(key) {
    const hit = this.map.get(key);
    if (hit) { this.map.delete(key); this.map.set(key, hit); }
    return hit;
  }
  set(key, data) {
    const old = this.map.get(key);
    if (old) this.bytes -= old.byteLength;
    this.map.delete(key);
    this.map.set(key, data);
    this.bytes += data.byteLength;
    for (const [k, d] of this.map) {
      if (this.bytes <= this.limit) break;
      this.map.delete(k);
      this.bytes -= d.byteLength;
    }
  }
}

// Slices from the kernel: the one needed first, then blocks around it.
export class KernelSource {
  constructor(model, changed) {
    this.model = model; this.cache = new Cache(CACHE_BYTES); this.asked = new Map(); this.changed = changed; this.heard = false;
    this.onMessage = (msg, buffers) => this.receive(msg, buffers);
    model.on("msg:custom", this.onMessage);
  }
  close() { this.model.off("msg:custom", this.onMessage); }
  receive(msg, buffers) {
    if (msg.type === "changed") return this.change(msg, buffers[0]);
    if (msg.type === "stale") return this.forget(msg.layer);
    if (msg.type !== "slices") return;
    this.heard = true;
    const part = buffers[0], size = msg.rows * msg.columns * msg.bytes;
    for (let n = 0; n < msg.count; n++) {
      const copy = part.buffer.slice(part.byteOffset + n * size, part.byteOffset + (n + 1) * size);
      const key = `${msg.layer}/${msg.plane}/${msg.first + n}`;
      this.cache.set(key, msg.bytes === 2 ? new Uint16Array(copy) : new Uint8Array(copy));
      this.asked.delete(key);
    }
    this.changed();
  }
  // Put changed voxels of a mask into the slices kept: the kernel sends the box of them, k slowest.
  change({layer, box}, part) {
    const voxels = new Uint8Array(part.buffer, part.byteOffset, part.byteLength), [[i0, i1], [j0, j1], [k0, k1]] = box, ni = i1 - i0, nj = j1 - j0;
    const shape = this.model.get("_layers")[layer].shape, low = [i0, j0, k0], high = [i1, j1, k1];
    for (const [key, data] of this.cache.map) {
      const [owner, plane, at] = key.split("/");
      if (+owner !== layer || !PLANES[plane]) continue;
      const [c, r, n] = PLANES[plane], index = +at;
      if (index < low[n] || index >= high[n]) continue;
      const fresh = data.slice(), place = [0, 0, 0];
      place[n] = index;
      for (place[r] = low[r]; place[r] < high[r]; place[r]++)
        for (place[c] = low[c]; place[c] < high[c]; place[c]++) fresh[place[r] * shape[c] + place[c]] = voxels[((place[2] - k0) * nj + place[1] - j0) * ni + place[0] - i0];
      this.cache.map.set(key, fresh);
    }
    this.changed();
  }
  // Slices of a layer are asked for anew.
  forget(layer) {
    this.asked.clear();
    for (const [key, data] of this.cache.map) {
      const [owner, plane, at] = key.split("/");
      if (+owner !== layer) continue;
      this.cache.map.delete(key);
      this.cache.bytes -= data.byteLength;
    }
    this.changed();
  }
  ask(layer, plane, first, last) {
    const now = Date.now(), missing = [];
    for (let index = first; index < last; index++) {
      const key = `${layer}/${plane}/${index}`;
      if (!this.cache.map.has(key) && !(now - this.asked.get(key) < 5000)) { missing.push(index); this.asked.set(key, now); }
    }
    if (missing.length) this.model.send({type: "slices", layer, plane, first: missing[0], last: missing.at(-1) + 1});
  }
  slice(layer, plane, index, size) {
    const data = this.cache.get(`${layer}/${plane}/${index}`);
    if (!data) this.ask(layer, plane, index, index + 1);
    // Blocks of 8 ahead and behind, aligned, so that a scroll asks rarely and early.
    const block = Math.floor(index / 8) * 8;
    for (const first of [block, block + 8, block - 8])
      if (first >= 0 && first < size && this.cache.map.size) this.ask(layer, plane, Math.max(0, first), Math.min(size, first + 8));
    return data;
  }
}

// Slices from the copy that travels with the page.
export class ExportSource {
  constructor(packed, changed) {
    this.layers = packed.map((p) => p && {...p, grid: new Grid(p.shape, p.affine), data: null, ready: null});
    this.changed = changed;
    this.cache = new Cache(24e6);
    this.unpackAll();
  }
  close() { this.closed = true; }
  async unpackAll() {
    const todo = [];
    this.layers.forEach((layer) => {
      if (!layer) return;
      const n = layer.shape[0] * layer.shape[1] * layer.shape[2];
      layer.data = layer.bytes === 2 ? new Uint16Array(n) : new Uint8Array(n);
      layer.ready = layer.chunks.map(() => false);
      const middle = (layer.chunks.length - 1) / 2;
      layer.chunks.forEach((_, c) => todo.push([Math.abs(c - middle), layer, c]));
    });
    todo.sort((p, q) => p[0] - q[0]);
    for (const [, layer, c] of todo) {
      if (this.closed) return;
      await this.unpack(layer, c);
      layer.ready[c] = true;
      this.cache = new Cache(24e6);
      this.changed();
      await new Promise((next) => setTimeout(next));
    }
  }
  async unpack(layer, c) {
    const packed = Uint8Array.from(atob(layer.chunks[c]), (ch) => ch.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const [w, h] = layer.shape, wide = layer.bytes === 2, n = planes.length / layer.bytes;
    const out = layer.data.subarray(c * layer.slices * w * h, c * layer.slices * w * h + n);
    for (let p = 0; p < n; ) {
      for (let row = 0; row < h; row++)
        for (let col = 0; col < w; col++, p++) {
          const left = col ? out[p - 1] : row ? out[p - w] : 0, up = row ? out[p - w] : left;
          const z = wide ? planes[p] | (planes[n + p] << 8) : planes[p];
          out[p] = ((left + up) >> 1) + ((z >> 1) ^ -(z & 1));
        }
    }
  }
  slice(number, plane, index) {
    const layer = this.layers[number];
    if (!layer) return null;
    const [w, h, d] = layer.shape, done = (k) => layer.ready[Math.floor(k / layer.slices)];
    if (plane === "axial") return done(index) ? layer.data.subarray(index * w * h, (index + 1) * w * h) : null;
    if (!layer.ready.every(Boolean)) return null;
    const key = `${number}/${plane}/${index}`, known = this.cache.get(key);
    if (known) return known;
    const out = new layer.data.constructor((plane === "coronal" ? w : h) * d);
    for (let k = 0, p = 0; k < d; k++)
      if (plane === "coronal") for (let i = 0, q = (k * h + index) * w; i < w; i++) out[p++] = layer.data[q++];
      else for (let j = 0, q = k * h * w + index; j < h; j++, q += w) out[p++] = layer.data[q];
    this.cache.set(key, out);
    return out;
  }
}
