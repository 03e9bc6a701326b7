// @ts-check
/** Makes one part of the page equal to another, and writes only what differs. */

/** Attributes that belong to the browser: state of the page that the server does not know. */
const KEPT = new Set(["style", "open"]);

/**
 * Elements with the same `data-key` stay the same elements, with their focus and their state. One
 * with `data-kept`, such as a form that somebody fills in, stays as it is.
 * @param {Element} current
 * @param {Element} wanted of the same kind; not changed
 */
export function morph(current, wanted) {
  if (current.hasAttribute("data-kept")) return;
  morphAttributes(current, wanted);
  if (isText(wanted)) {
    if (current.textContent !== wanted.textContent) current.textContent = wanted.textContent;
  } else if (hasMixedContent(wanted)) {
    if (current.innerHTML !== wanted.innerHTML) current.replaceChildren(...copies(wanted));
  } else morphChildren(current, wanted);
}

/**
 * @param {Element} current
 * @param {Element} wanted
 */
function morphAttributes(current, wanted) {
  for (const { name, value } of wanted.attributes) {
    if (!KEPT.has(name) && current.getAttribute(name) !== value) current.setAttribute(name, value);
  }
  for (const { name } of [...current.attributes]) {
    if (!KEPT.has(name) && !wanted.hasAttribute(name)) current.removeAttribute(name);
  }
}

/**
 * @param {Element} current
 * @param {Element} wanted
 */
function morphChildren(current, wanted) {
  if (!current.firstElementChild) current.textContent = "";
  const keys = new Set([...wanted.children].map(keyOf));
  for (const child of [...current.children]) if (!keys.has(keyOf(child))) child.remove();
  const present = new Map([...current.children].map((child) => [keyOf(child), child]));
  let next = current.firstElementChild;
  for (const child of wanted.children) {
    const same = present.get(keyOf(child));
    if (!same) {
      current.insertBefore(document.importNode(child, true), next);
      continue;
    }
    if (same === next) next = next.nextElementSibling;
    else current.insertBefore(same, next);
    morph(same, child);
  }
}

/** Without a key: the kind of the element and its place among those. @param {Element} child */
function keyOf(child) {
  const key = child.getAttribute("data-key");
  if (key !== null) return `${child.tagName} ${key}`;
  let place = 0;
  for (let each = child.previousElementSibling; each; each = each.previousElementSibling) {
    if (each.tagName === child.tagName && !each.hasAttribute("data-key")) place += 1;
  }
  return `${child.tagName}#${place}`;
}

/** @param {Element} element */
function isText(element) {
  return element.firstElementChild === null;
}

/** @param {Element} element */
function hasMixedContent(element) {
  return [...element.childNodes].some(
    (node) => node.nodeType === Node.TEXT_NODE && node.textContent?.trim(),
  );
}

/** @param {Element} element */
function copies(element) {
  return [...element.childNodes].map((node) => document.importNode(node, true));
}
