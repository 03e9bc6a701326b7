// @ts-check
/**
 * Opens the confirmations of a page as modal dialogs: Tab stays inside, Escape closes them, and the
 * focus returns to the button. Without this script a button with `data-dialog` leads to a page, and
 * the others open popovers.
 */

document.addEventListener("click", (event) => {
  const target = /** @type {Element | null} */ (event.target);
  const button = /** @type {HTMLElement | null} */ (target?.closest("[data-dialog], [popovertarget]"));
  const name = button?.dataset.dialog ?? button?.getAttribute("popovertarget") ?? "";
  const dialog = document.getElementById(name);
  if (!(dialog instanceof HTMLDialogElement)) return;
  event.preventDefault();
  if (dialog.open) dialog.close();
  else dialog.showModal();
});
