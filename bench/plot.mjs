// A small writer of SVG: lines on two logarithmic axes, for light and dark pages.

const WIDTH = 860;
const HEIGHT = 480;
const AREA = { left: 64, right: 600, top: 64, bottom: 424 };
// Hues that keep apart also for colour-blind readers (Okabe and Ito 2008, darkened for white or lightened for black).
const LIGHT = ['#0072b2', '#d55e00', '#007a5a', '#a8518a', '#8a6d00', '#3a8fc2', '#6b6b6b', '#b3261e'];
const DARK = ['#56b4e9', '#ff9a4d', '#2fd0a0', '#e59ac8', '#f0d442', '#9ed3f5', '#b8b8b8', '#ff8a80'];
const MARKS = ['circle', 'square', 'diamond', 'triangle'];

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const f = (x) => x.toFixed(1);

/**
 * @param title one line above
 * @param subtitle a smaller line below it
 * @param x, y names of the axes
 * @param series lines: { name, points: [x, y][], dashed? }, of positive numbers; the first is drawn strongest
 * @returns a standalone SVG document
 */
export function plot({ title, subtitle = '', x, y, series }) {
  const drawn = series
    .map((one, i) => ({ ...one, i, points: one.points.filter(([a, b]) => a > 0 && b > 0 && Number.isFinite(a) && Number.isFinite(b)) }))
    .filter((one) => one.points.length > 0);
  if (drawn.length === 0) throw new RangeError('nothing to plot: no series has a positive point');
  const across = axis(
    drawn.flatMap((one) => one.points.map((p) => p[0])),
    AREA.left,
    AREA.right,
    2,
  );
  const up = axis(
    drawn.flatMap((one) => one.points.map((p) => p[1])),
    AREA.bottom,
    AREA.top,
    10,
  );
  const at = ([a, b]) => `${f(across.at(a))},${f(up.at(b))}`;

  const grid = [
    ...up.ticks.map((v) => `<path class="grid" d="M${AREA.left} ${f(up.at(v))}H${AREA.right}"/>`),
    ...up.ticks.map((v) => `<text class="tick" x="${AREA.left - 8}" y="${f(up.at(v) + 4)}" text-anchor="end">${label(v)}</text>`),
    ...across.ticks.map((v) => `<path class="grid" d="M${f(across.at(v))} ${AREA.top}V${AREA.bottom}"/>`),
    ...across.ticks.map((v) => `<text class="tick" x="${f(across.at(v))}" y="${AREA.bottom + 18}" text-anchor="middle">${label(v)}</text>`),
  ];
  const lines = drawn.map(({ points, dashed, i }) => {
    const line = `<polyline class="line c${i % LIGHT.length}${dashed ? ' dashed' : ''}${i === 0 ? ' first' : ''}" points="${points.map(at).join(' ')}"/>`;
    return line + (dashed ? '' : points.map((p) => mark(MARKS[i % MARKS.length], across.at(p[0]), up.at(p[1]), i)).join(''));
  });
  // Names beside the ends of their lines, pushed apart where these are close.
  const ends = drawn.map((one) => ({ ...one, end: one.points.at(-1) })).sort((a, b) => b.end[1] - a.end[1]);
  const spots = apart(
    ends.map((one) => up.at(one.end[1])),
    17,
    AREA.top - 8,
    AREA.bottom,
  );
  const names = ends.map(({ name, end, dashed, i }, row) => {
    const from = `${f(across.at(end[0]) + 6)} ${f(up.at(end[1]))}`;
    return (
      `<path class="lead c${i % LIGHT.length}${dashed ? ' dashed' : ''}" d="M${from}L${AREA.right + 16} ${f(spots[row])}"/>` +
      `<text class="name n${i % LIGHT.length}${i === 0 ? ' strong' : ''}" x="${AREA.right + 21}" y="${f(spots[row] + 4)}">${escaped(name)}</text>`
    );
  });

  return `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escaped(title)}">
<style>
text{font:12px system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif;fill:#1f2328}
.title{font-size:16px;font-weight:600}.sub,.tick,.axis{fill:#59636e}
.back{fill:#ffffff}.grid{stroke:#d9dee3;fill:none}.line,.lead{fill:none;stroke-width:2}.first{stroke-width:3}.lead{stroke-width:1;opacity:.6}
.dashed{stroke-dasharray:6 5}.strong{font-weight:600}
${rules(LIGHT)}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.sub,.tick,.axis{fill:#9aa4af}.back{fill:#0d1117}.grid{stroke:#2b323b}
${rules(DARK)}}
</style>
<rect class="back" width="${WIDTH}" height="${HEIGHT}"/>
<text class="title" x="16" y="26">${escaped(title)}</text>
<text class="sub" x="16" y="45">${escaped(subtitle)}</text>
${grid.join('\n')}
<text class="axis" x="${(AREA.left + AREA.right) / 2}" y="${AREA.bottom + 40}" text-anchor="middle">${escaped(x)}</text>
<text class="axis" transform="translate(18 ${(AREA.top + AREA.bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(y)}</text>
${lines.reverse().join('\n')}
${names.join('\n')}
</svg>
`;
}

const rules = (colours) => colours.map((c, i) => `.c${i}{stroke:${c}}.m${i},.n${i}{fill:${c}}`).join('');

// A logarithmic axis from pixel `start` to pixel `end`, with ticks at powers of `base`, thinned out to ten.
function axis(values, start, end, base) {
  let low = Math.floor(Math.log(Math.min(...values)) / Math.log(base) + 1e-9);
  let high = Math.ceil(Math.log(Math.max(...values)) / Math.log(base) - 1e-9);
  if (low === high) {
    low -= 1;
    high += 1;
  }
  const every = Math.ceil((high - low) / 10);
  const ticks = [];
  for (let power = low; power <= high; power += every) ticks.push(base ** power);
  return { ticks, at: (value) => start + ((Math.log(value) / Math.log(base) - low) / (high - low)) * (end - start) };
}

// 1, 512, 1k, 20k, 4M: powers of two stay whole up to 9,999.
function label(value) {
  if (value >= 1e9) return `${value / 1e9}G`;
  if (value >= 1e6) return `${Math.round(value / 1e4) / 100}M`;
  if (value >= 1e4) return `${Math.round(value / 100) / 10}k`;
  return value >= 1 ? value.toLocaleString('en') : String(Number(value.toPrecision(2)));
}

/** Positions in the same order, at least `gap` apart, near the wanted ones (rising), within the bounds where they fit. */
export function apart(wanted, gap, low, high) {
  const places = [...wanted];
  for (let i = 0; i < places.length; i++) places[i] = Math.max(places[i], i === 0 ? low : places[i - 1] + gap);
  for (let i = places.length - 1; i >= 0; i--)
    places[i] = Math.min(places[i], i === places.length - 1 ? Math.max(high, low + i * gap) : places[i + 1] - gap);
  return places;
}

function mark(kind, x, y, i) {
  const of = `class="m${i % LIGHT.length}"`;
  if (kind === 'circle') return `<circle ${of} cx="${f(x)}" cy="${f(y)}" r="4"/>`;
  if (kind === 'square') return `<rect ${of} x="${f(x - 3.5)}" y="${f(y - 3.5)}" width="7" height="7"/>`;
  if (kind === 'diamond') return `<path ${of} d="M${f(x)} ${f(y - 5)}l5 5l-5 5l-5 -5z"/>`;
  return `<path ${of} d="M${f(x)} ${f(y - 5)}l5 9h-10z"/>`;
}
