/** Numbers and times as people read them, with their units. */

/** A distance or length: meters below one kilometer. */
export function formatDistance(meters: number): string {
  if (meters < 1_000) {
    return `${meters < 10 ? meters.toFixed(1) : Math.round(meters)} m`;
  }
  const kilometers = meters / 1_000;
  return `${kilometers < 100 ? kilometers.toFixed(1) : Math.round(kilometers).toLocaleString("en")} km`;
}

export function formatArea(squareKilometers: number): string {
  return squareKilometers < 10
    ? `${squareKilometers.toFixed(2)} km²`
    : `${Math.round(squareKilometers).toLocaleString("en")} km²`;
}

/** A probability as percent; very small and very large ones are not rounded to 0 and 100. */
export function formatProbability(probability: number): string {
  const percent = 100 * probability;
  if (percent > 0 && percent < 1) {
    return "< 1 %";
  }
  return percent > 99 && percent < 100 ? "> 99 %" : `${Math.round(percent)} %`;
}

export function formatPoint({ lat, lon }: { lat: number; lon: number }): string {
  return `${lat.toFixed(5)}, ${lon.toFixed(5)}`;
}

export function formatBytes(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.ceil(bytes / 1_000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** A time of the API (RFC 3339) in UTC, to the minute; other texts stay as they are. */
export function formatTime(time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.valueOf()) ? time : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
