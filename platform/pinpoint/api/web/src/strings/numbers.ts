/** Numbers, days and times in texts. */

export const numbers = new Intl.NumberFormat("en");
export const days = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeZone: "UTC" });
export const times = new Intl.DateTimeFormat("en", {
  dateStyle: "medium",
  timeStyle: "medium",
  timeZone: "UTC",
});

/** Number with one noun: `1 image`, `12 images`. */
export function count(number: number, noun: string): string {
  return `${numbers.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}
