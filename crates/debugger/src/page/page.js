'use strict';
const status = document.getElementById('status');

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Only localhost and HTTPS have the clipboard interface; a phone on the network has neither.
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'offscreen';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

for (const button of document.querySelectorAll('button[data-copy]')) {
  const source = document.getElementById(button.dataset.copy);
  const label = button.textContent;
  let timer = 0;
  button.hidden = false;
  button.addEventListener('click', async () => {
    const done = await copy(source.textContent);
    button.focus();
    button.textContent = done ? 'Copied' : 'Select it below';
    status.textContent = done ? 'Copied to the clipboard' : 'It can’t be copied from here';
    if (!done) {
      source.closest('details').open = true;
      getSelection().selectAllChildren(source);
      source.scrollIntoView({ block: 'nearest' });
    }
    clearTimeout(timer);
    timer = setTimeout(() => { button.textContent = label; status.textContent = ''; }, 2000);
  });
}

// j and k go from frame to frame; Enter and Space fold and unfold, as the browser has it.
document.addEventListener('keydown', (event) => {
  const step = { j: 1, k: -1 }[event.key];
  if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
  const frames = [...document.querySelectorAll('.cause summary')].filter((summary) => summary.checkVisibility());
  const current = frames.indexOf(document.activeElement);
  const next = frames[current < 0 ? 0 : current + step];
  if (!next) return;
  next.focus();
  next.scrollIntoView({ block: 'nearest' });
});

const { poll, report } = document.documentElement.dataset;
async function check() {
  try {
    const response = await fetch(location.href, { cache: 'no-store', headers: { Accept: 'text/html' } });
    if (response.status !== 503 || !(await response.text()).includes(`data-report="${report}"`)) return location.reload();
  } catch {
    // No server listens until the program has started.
  }
  setTimeout(check, Number(poll));
}
if (poll) setTimeout(check, Number(poll));
