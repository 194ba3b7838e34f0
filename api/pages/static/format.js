// Numbers, rates and times for people, in the browser's language.

const language = navigator.language || "en";
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const decimal = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
const fixed = new Intl.NumberFormat(language, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const signed = new Intl.NumberFormat(language, { maximumFractionDigits: 2, signDisplay: "exceptZero" });
const signedShare = new Intl.NumberFormat(language, { maximumFractionDigits: 1, signDisplay: "exceptZero" });
// days are UTC
const day = new Intl.DateTimeFormat(language, { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

export const NONE = "–";

export function count(value) {
  return value === null || value === undefined ? NONE : whole.format(value);
}

export function number(value) {
  return value === null || value === undefined ? NONE : minus(decimal.format(value));
}

/** A rate, which the API sends in per cent. */
export function percent(value) {
  return value === null || value === undefined ? NONE : `${fixed.format(value)} %`;
}

/** A share of something, to one decimal. */
export function share(value) {
  return value === null || value === undefined ? NONE : `${tenths.format(value)} %`;
}

export function points(value) {
  return `${minus(signed.format(value))} points`;
}

export function relative(value) {
  return `${minus(signedShare.format(value))} %`;
}

/** A hyphen before a number is read as a range. */
function minus(text) {
  return text.replace("-", "−");
}

export function date(text) {
  return text ? day.format(new Date(`${String(text).slice(0, 10)}T00:00:00Z`)) : NONE;
}

/** "1 Nov 2025 to 30 Nov 2025", for a time range of the API. */
export function windowText(range) {
  return `${date(range.start)} to ${date(range.end)}`;
}

/** A moment, in the time zone of the address, else the browser's. */
export function moment(text, zone) {
  if (!text) return NONE;
  const options = { dateStyle: "medium", timeStyle: "short" };
  try {
    return new Intl.DateTimeFormat(language, { ...options, timeZone: zone || undefined }).format(new Date(text));
  } catch {
    return new Intl.DateTimeFormat(language, options).format(new Date(text));
  }
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let rest = value;
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${new Intl.NumberFormat(language, { maximumFractionDigits: unit ? 1 : 0 }).format(rest)} ${units[unit]}`;
}

/** "open rate" for open_rate. */
export function words(text) {
  return String(text ?? "").replaceAll("_", " ");
}

export function sentence(text) {
  const plain = words(text);
  return plain.charAt(0).toUpperCase() + plain.slice(1);
}
