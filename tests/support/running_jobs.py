"""Many jobs that run in one process, and what a browser writes into a page that shows them."""

# Arguments: the number of jobs, each of which changes twice a second, for four minutes; and the
# seconds after which one ends and another begins, five times.
RUN = """
import sys, time
from ingestion_progress import track
number, pause = int(sys.argv[1]), float(sys.argv[2])
def begin(name):
    job = track(name, batch="running", stages=["one", "two"])
    job.start()
    return job, job.stage("one", total=500)
jobs = [begin(f"report-{each}.pdf") for each in range(number)]
changes_at = time.monotonic() + pause
arrived = 0
while True:
    for position in range(number):
        jobs[position][1].advance()
        time.sleep(0.5 / number)
    if arrived < 5 and time.monotonic() > changes_at:
        jobs[arrived][0].complete()
        jobs[arrived] = begin(f"new-{arrived}.pdf")
        arrived, changes_at = arrived + 1, time.monotonic() + pause
"""
# `isSame`: the value that is written was there; `isRepeated`: it is overwritten before anything
# could be drawn.
WATCH = """() => {
  window.writes = [];
  const text = (nodes) => [...nodes].map((node) => node.textContent).join("");
  new MutationObserver((changes) => {
    const last = new Map();
    for (const {type, target, attributeName, oldValue, removedNodes, addedNodes} of changes) {
      const row = target.closest?.("[data-job]")?.dataset.job ?? null;
      const isReplaced = addedNodes.length > 0 && removedNodes.length > 0;
      const isSame = type === "attributes" ? target.getAttribute(attributeName) === oldValue
        : isReplaced && text(removedNodes) === text(addedNodes);
      const what = attributeName ?? target.getAttribute("class") ?? target.tagName;
      const write = {row, isSame, isRepeated: false, what};
      const ofTarget = last.get(target) ?? last.set(target, new Map()).get(target);
      if (ofTarget.has(what) && (type === "attributes" || !target.children.length)) {
        ofTarget.get(what).isRepeated = true;
      }
      ofTarget.set(what, write);
      writes.push(write);
    }
  }).observe(document.getElementById("jobs"), {
    subtree: true, attributes: true, attributeOldValue: true, childList: true,
  });
}"""
# Cumulative layout shift since a moment of `performance.now()`: the largest window of at most 5 s
# without a gap of 1 s.
SHIFT = """(since = 0) => new Promise((resolve) => {
  new PerformanceObserver((list) => {
    let [largest, sum, first, last] = [0, 0, 0, -Infinity];
    for (const {startTime, value, hadRecentInput} of list.getEntries()) {
      if (hadRecentInput || startTime < since) continue;
      if (startTime - last > 1000 || startTime - first > 5000) [sum, first] = [0, startTime];
      last = startTime;
      sum += value;
      largest = Math.max(largest, sum);
    }
    resolve(largest);
  }).observe({type: "layout-shift", buffered: true});
  setTimeout(() => resolve(0), 1000);
})"""
