(function () {
  // A part of a page that is loaded later brings this again.
  if (window.__amboss__) return;
  window.__amboss__ = true;
  var shown = document.currentScript.src.split('?')[1], source = null, pause = 500;
  function leave() {
    if (source) source.close();
    source = null;
  }
  // Browsers keep few connections to one server: only tabs that are seen hold one.
  function listen() {
    if (source || document.hidden) return;
    source = new EventSource('/__amboss__/live');
    source.onmessage = function (event) {
      pause = 500;
      if (event.data !== shown) location.reload();
    };
    source.onerror = function () {
      // Anything but a refusal it mends by itself.
      if (source.readyState !== 2) return;
      leave();
      setTimeout(listen, pause);
      pause = Math.min(pause * 2, 10000);
    };
  }
  document.addEventListener('visibilitychange', function () { document.hidden ? leave() : listen(); });
  addEventListener('pagehide', leave);
  addEventListener('pageshow', listen);
  listen();
})();
