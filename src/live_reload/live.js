(function () {
  // A fragment that is loaded into the page later may bring this script again.
  if (window.__amboss__) return;
  window.__amboss__ = true;
  var shown = document.currentScript.src.split('?')[1], source = null, pause = 500;
  function leave() {
    if (source) source.close();
    source = null;
  }
  // Browsers limit the connections to one server, so only visible tabs hold one.
  function listen() {
    if (source || document.hidden) return;
    source = new EventSource('/__amboss__/live');
    source.onmessage = function (event) {
      pause = 500;
      if (event.data !== shown) location.reload();
    };
    source.onerror = function () {
      // EventSource reconnects after every error except a refusal (readyState CLOSED).
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
