/** Areas of the filter: outlines as text in the URL, as GeoJSON for the API, and their simplification. */

/** Longitude and latitude, degrees. */
export type Position = [number, number];

/** An outline without the repetition of its first position. */
export type Outline = Position[];

/** An outline in the URL has at most so many positions; each takes up to 17 characters. */
export const maxPositions = 100;

/** Text of an outline: `lat,lon` separated by semicolons, five decimals (about one meter). */
export function formatOutline(outline: Outline): string {
  return outline.map(([lon, lat]) => `${trim(lat)},${trim(lon)}`).join(";");
}

/** Outline of a text; null if it is none. */
export function parseOutline(text: string): Outline | null {
  const outline = text.split(";").map((part): Position | null => {
    const numbers = part.split(",").map((number) => (number.trim() === "" ? NaN : Number(number)));
    const [lat, lon] = numbers as [number, number];
    return numbers.length === 2 && Math.abs(lat) <= 90 && Math.abs(lon) <= 180 ? [lon, lat] : null;
  });
  const isValid = outline.length >= 3 && outline.length <= maxPositions;
  return isValid && outline.every((position) => position !== null) ? (outline as Outline) : null;
}

/**
 * Outline of what a user types: a box `min lon, min lat, max lon, max lat`, or positions
 * `lat, lon; lat, lon; …`. Null if it is neither.
 */
export function parseTypedArea(text: string): Outline | null {
  const numbers = text.split(/[\s,]+/).filter(Boolean).map(Number);
  const [west, south, east, north] = numbers as [number, number, number, number];
  if (!text.includes(";") && numbers.length === 4) {
    const isBox = Math.abs(west) <= 180 && Math.abs(east) <= 180 && south < north && west < east;
    return isBox && south >= -90 && north <= 90 ? boxOutline(west, south, east, north) : null;
  }
  return parseOutline(text.replace(/;\s*$/, ""));
}

export function boxOutline(west: number, south: number, east: number, north: number): Outline {
  return [[west, south], [east, south], [east, north], [west, north]];
}

/** GeoJSON geometry of an outline. */
export function toPolygon(outline: Outline): { type: "Polygon"; coordinates: Position[][] } {
  return { type: "Polygon", coordinates: [closeRing(outline)] };
}

export function closeRing(outline: Outline): Position[] {
  const [first] = outline;
  return first === undefined ? [] : [...outline, first];
}

/** An outline with at most `maxPositions` positions (Douglas-Peucker with growing tolerance). */
export function simplifyOutline(outline: Outline): Outline {
  const lons = outline.map(([lon]) => lon);
  const lats = outline.map(([, lat]) => lat);
  const side = Math.max(...lons) - Math.min(...lons) + Math.max(...lats) - Math.min(...lats);
  let simplified = outline.filter(
    ([lon, lat], index) => lon !== outline[index - 1]?.[0] || lat !== outline[index - 1]?.[1],
  );
  for (let tolerance = side / 2_000; simplified.length > maxPositions; tolerance *= 1.5) {
    simplified = keepCorners(outline, tolerance);
  }
  return simplified.map(([lon, lat]) => [limitTo(lon, 180), limitTo(lat, 90)]);
}

function keepCorners(line: Outline, tolerance: number): Outline {
  const [first, last] = [line[0], line[line.length - 1]];
  if (first === undefined || last === undefined || line.length < 3) {
    return line;
  }
  let farthest = 0;
  let distance = 0;
  line.forEach((position, index) => {
    const next = distanceToSegment(position, first, last);
    if (next > distance) {
      [farthest, distance] = [index, next];
    }
  });
  if (distance <= tolerance) {
    return [first, last];
  }
  const start = keepCorners(line.slice(0, farthest + 1), tolerance);
  return [...start.slice(0, -1), ...keepCorners(line.slice(farthest), tolerance)];
}

function distanceToSegment([x, y]: Position, [x1, y1]: Position, [x2, y2]: Position): number {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const length = dx * dx + dy * dy;
  const share = length === 0 ? 0 : ((x - x1) * dx + (y - y1) * dy) / length;
  const t = Math.min(1, Math.max(0, share));
  return Math.hypot(x - x1 - t * dx, y - y1 - t * dy);
}

function limitTo(value: number, limit: number): number {
  return Math.min(limit, Math.max(-limit, value));
}

function trim(value: number): string {
  return String(Number(value.toFixed(5)));
}
