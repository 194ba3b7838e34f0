// Makes elements. Text is only ever set as text, never as markup.

/** An element with attributes (on… are listeners) and children; null and false are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value") node.value = value;
    else if (name === "checked" || name === "selected" || name === "disabled" || name === "required") node[name] = true;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A text of somebody else: cut if it is very long, and of its own direction. */
export function name(text, longest = 120) {
  const whole = String(text ?? "");
  const shown = whole.length > longest ? `${whole.slice(0, longest - 1)}…` : whole;
  return el("bdi", { title: whole.length > longest ? whole.slice(0, 1000) : null }, shown);
}

/** Fills an element. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** A select with a label. Options are values, or [value, text]. */
export function select(label, options, value, change, attributes = {}) {
  const field = el("select", { ...attributes, onchange: (event) => change?.(event.target.value) });
  for (const option of options) {
    const [key, text] = Array.isArray(option) ? option : [option, option];
    field.append(el("option", { value: key, selected: key === value }, text));
  }
  return el("label", { class: "field" }, el("span", {}, label), field);
}

/** An input with a label. */
export function input(label, attributes = {}, hint = null) {
  return el("label", { class: "field" }, el("span", {}, label), el("input", attributes), hint && el("small", {}, hint));
}
