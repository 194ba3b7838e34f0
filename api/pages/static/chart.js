// Charts: the API's own Vega-Lite documents, drawn as SVG without eval and without inline styles.

import { call } from "./api.js";
import { el } from "./dom.js";

const language = navigator.language || "en";
const dark = matchMedia("(prefers-color-scheme: dark)");
const MOST_DRAWINGS = 4;
let library = null;

function load() {
  library ??= new Promise((resolve, reject) => {
    const script = el("script", { src: document.body.dataset.bundle });
    script.addEventListener("load", () => resolve(window.vegaEmbed));
    script.addEventListener("error", () => {
      library = null;
      script.remove();
      reject(new Error("The script that draws charts could not be loaded."));
    });
    document.head.append(script);
  });
  return library;
}

// who loads this module shows charts: the library comes while the numbers do
load().catch(() => {});

/** How the library writes numbers: as the browser's language does. */
function numberLocale() {
  const parts = new Intl.NumberFormat(language, { useGrouping: true }).formatToParts(1234567.5);
  const part = (type, otherwise) => parts.find((item) => item.type === type)?.value ?? otherwise;
  return { decimal: part("decimal", "."), thousands: part("group", ""), grouping: [3], currency: ["", ""] };
}

/** The names of days and months. */
function timeLocale() {
  const names = (options, count, step) =>
    Array.from({ length: count }, (_, index) => new Intl.DateTimeFormat(language, { ...options, timeZone: "UTC" }).format(new Date(Date.UTC(2023, 0, 1) + index * step)));
  const day = 86_400_000;
  return {
    dateTime: "%x, %X",
    date: "%Y-%m-%d",
    time: "%H:%M:%S",
    periods: ["AM", "PM"],
    // 1 January 2023 was a Sunday; 31 days lead from one month into the next
    days: names({ weekday: "long" }, 7, day),
    shortDays: names({ weekday: "short" }, 7, day),
    months: names({ month: "long" }, 12, 31 * day),
    shortMonths: names({ month: "short" }, 12, 31 * day),
  };
}

/** A figure that draws one of an endpoint's charts; its table is beside it, so a chart that fails says only that. */
export function chart(endpoint, about, path, options = {}) {
  return figure(about, async () => {
    const { config, title, usermeta, ...spec } = await call(`${path}/charts/${about.name}`, options);
    return { spec, themes: { light: config, dark: usermeta.dark } };
  });
}

/** A figure of a document that is there already. */
export function picture(about, spec, themes) {
  return figure(about, () => ({ spec, themes }));
}

function figure(about, document_) {
  // the library changes the role of the element that it draws in
  const place = el("div", { class: "chart" });
  const frame = el("div", { role: "img", "aria-label": `${about.title}. ${about.description}` }, place);
  const whole = el("figure", { "data-chart": about.name, "aria-busy": "true" }, frame);
  const draw = async () => {
    try {
      const [embed, { spec, themes }] = await Promise.all([load(), document_()]);
      let drawnWidth = 0;
      const paint = async () => {
        if (!place.isConnected) return;
        drawnWidth = place.clientWidth;
        const theme = dark.matches ? themes.dark : themes.light;
        const legend = place.clientWidth < 480 ? { ...theme.legend, columns: 1 } : theme.legend;
        const options = {
          mode: "vega-lite",
          ast: true,
          actions: false,
          defaultStyle: false,
          renderer: "svg",
          tooltip: { disableDefaultStyle: true },
          formatLocale: numberLocale(),
          timeFormatLocale: timeLocale(),
          config: { ...theme, legend },
        };
        if (spec.width) {
          await embed(place, spec, options);
          return;
        }
        // small charts in rows have a width of their own, beside which their labels need room: how much, only a drawing says
        let width = Math.max(140, place.clientWidth - 140);
        for (let drawings = 0; drawings < MOST_DRAWINGS; drawings += 1) {
          await embed(place, { ...spec, width }, options);
          const excess = Math.ceil(place.querySelector("svg").getBoundingClientRect().width - place.clientWidth);
          if (excess <= 0) return;
          width = Math.max(60, width - excess - 2);
        }
      };
      await paint();
      dark.addEventListener("change", paint);
      // those do not follow the width of the page by themselves
      if (!spec.width) new ResizeObserver(() => place.clientWidth !== drawnWidth && paint()).observe(place);
    } catch (error) {
      frame.removeAttribute("role");
      frame.removeAttribute("aria-label");
      place.replaceChildren(el("p", { class: "notice" }, `This chart cannot be drawn: ${[error.message, ...Object.values(error.details ?? {}).flat()].join(" ")} The table has the same numbers.`));
    } finally {
      whole.removeAttribute("aria-busy");
    }
  };
  // it needs a width, so it is drawn when it is in the page
  queueMicrotask(() => requestAnimationFrame(draw));
  return whole;
}
