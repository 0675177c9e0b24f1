// World millimetres, voxel indices and places on the screen; no drawing and no words.
// Screen directions are the reverse of the grid's (right, anterior, superior), which is the radiological convention.

// Array axes of each plane on a RAS+ grid: columns, rows, across.
export const PLANES = {axial: [0, 1, 2], coronal: [0, 2, 1], sagittal: [1, 2, 0]};

const apply = (m, p) => [0, 1, 2].map((r) => m[4 * r] * p[0] + m[4 * r + 1] * p[1] + m[4 * r + 2] * p[2] + m[4 * r + 3]);

export function invert(m) {
  const [a, b, c, , d, e, f, , g, h, i] = m;
  const A = e * i - f * h, B = f * g - d * i, C = d * h - e * g, det = a * A + b * B + c * C;
  const r = [A, c * h - b * i, b * f - c * e, 0, B, a * i - c * g, c * d - a * f, 0, C, b * g - a * h, a * e - b * d, 0].map((x) => x / det);
  for (const row of [0, 1, 2]) r[4 * row + 3] = -(r[4 * row] * m[3] + r[4 * row + 1] * m[7] + r[4 * row + 2] * m[11]);
  return [...r, 0, 0, 0, 1];
}

// Half way between two slices it is the next one, whatever the rounding of inverses.
export const nearestSlice = (index) => Math.floor(index + 0.5 + 1e-6);

export class Grid {
  constructor(shape, affine) {
    this.shape = shape;
    this.affine = affine;
    this.inverse = invert(affine);
    this.spacing = [0, 1, 2].map((c) => Math.hypot(affine[c], affine[4 + c], affine[8 + c]));
  }
  index(world) { return apply(this.inverse, world); }
  world(index) { return apply(this.affine, index); }
  nearest(world, axis) {
    return Math.min(Math.max(nearestSlice(this.index(world)[axis]), 0), this.shape[axis] - 1);
  }
  // Millimetres from the nearest slice to a place outside the grid, 0 inside.
  beyond(world, axis) {
    const at = this.index(world)[axis], off = Math.max(-0.5 - at, at - this.shape[axis] + 0.5, 0);
    return off > 1e-3 ? (off + 0.5) * this.spacing[axis] : 0;
  }
  corners() {
    return [...Array(8).keys()].map((n) => this.world(this.shape.map((size, a) => ((n >> a) & 1 ? size - 0.5 : -0.5))));
  }
}

// Where a grid's slice through `position` lies on screen: pixels of voxel (column, row), and back.
export class Placement {
  constructor(grid, plane, position, view) {
    const [c, r] = PLANES[plane];
    this.at = grid.index(position);
    this.c = c; this.r = r;
    this.step = [grid.spacing[c] * view.scale, grid.spacing[r] * view.scale];
    this.x0 = view.width / 2 - (position[c] - view.center[c]) * view.scale;
    this.y0 = view.height / 2 - (position[r] - view.center[r]) * view.scale;
  }
  x(column) { return this.x0 - (column - this.at[this.c]) * this.step[0]; }
  y(row) { return this.y0 - (row - this.at[this.r]) * this.step[1]; }
  column(x) { return this.at[this.c] - (x - this.x0) / this.step[0]; }
  row(y) { return this.at[this.r] - (y - this.y0) / this.step[1]; }
}

// Boundary of a mask slice as lines between voxels, in (column, row) coordinates, runs joined.
export function outline(data, w, h) {
  const path = new Path2D(), on = (c, r) => c >= 0 && r >= 0 && c < w && r < h && data[r * w + c] > 0;
  for (let r = 0; r <= h; r++)
    for (let c = 0, start = -1; c <= w; c++) {
      const edge = c < w && on(c, r) !== on(c, r - 1);
      if (edge && start < 0) start = c;
      if (!edge && start >= 0) { path.moveTo(start - 0.5, r - 0.5); path.lineTo(c - 0.5, r - 0.5); start = -1; }
    }
  for (let c = 0; c <= w; c++)
    for (let r = 0, start = -1; r <= h; r++) {
      const edge = r < h && on(c, r) !== on(c - 1, r);
      if (edge && start < 0) start = r;
      if (!edge && start >= 0) { path.moveTo(c - 0.5, start - 0.5); path.lineTo(c - 0.5, r - 0.5); start = -1; }
    }
  return path;
}
