// @ts-check
/**
 * Opens the confirmations of a page as modal dialogs: Tab stays inside, Escape closes them, and the
 * focus returns to the button. Without this script they are popovers.
 */

document.addEventListener("click", (event) => {
  const target = /** @type {Element | null} */ (event.target);
  const button = target?.closest("[popovertarget]");
  const dialog = document.getElementById(button?.getAttribute("popovertarget") ?? "");
  if (!(dialog instanceof HTMLDialogElement)) return;
  event.preventDefault();
  if (dialog.open) dialog.close();
  else dialog.showModal();
});
