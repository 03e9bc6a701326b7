// @ts-check
/** The files that somebody drops, pastes or chooses, with those in folders. */

/**
 * @typedef {object} Chosen
 * @property {File[]} files
 * @property {string} folder the name of the only folder; empty without one
 * @property {number} skipped files of folders that no one would want to ingest
 */

/**
 * Call it while the event is handled: later the browser no longer gives the files away.
 * @param {DataTransfer} transfer
 * @param {string[]} extensions those that are taken from folders
 * @returns {Promise<Chosen>}
 */
export async function filesOf(transfer, extensions) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  const files = [];
  const inFolders = [];
  const folders = [];
  for (const { entry, file } of taken) {
    if (entry?.isDirectory) {
      folders.push(entry.name);
      inFolders.push(...(await filesIn(/** @type {FileSystemDirectoryEntry} */ (entry))));
    } else if (file) files.push(file);
  }
  const wanted = inFolders.filter((file) => isWanted(file.name, extensions));
  return {
    files: [...files, ...wanted],
    folder: folders.length === 1 && !files.length ? folders[0] : "",
    skipped: inFolders.length - wanted.length,
  };
}

/**
 * @param {FileList} list of an input with `webkitdirectory`
 * @param {string[]} extensions
 * @returns {Chosen}
 */
export function filesOfFolder(list, extensions) {
  const found = [...list].filter((file) => !/(^|\/)\./.test(file.webkitRelativePath));
  const files = found.filter((file) => isWanted(file.name, extensions));
  const folder = found[0]?.webkitRelativePath.split("/")[0] ?? "";
  return { files, folder, skipped: found.length - files.length };
}

/**
 * With the files of its folders, but none that is hidden.
 * @param {FileSystemDirectoryEntry} folder
 * @returns {Promise<File[]>}
 */
async function filesIn(folder) {
  const files = [];
  const reader = folder.createReader();
  for (;;) {
    // A call returns some of the entries; after the last one, none.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const entry of entries) {
      if (entry.name.startsWith(".")) continue;
      if (entry.isDirectory) files.push(...(await filesIn(entry)));
      else files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    }
  }
}

/**
 * @param {string} name
 * @param {string[]} extensions
 */
function isWanted(name, extensions) {
  const lower = name.toLowerCase();
  return extensions.some((extension) => lower.endsWith(extension));
}
