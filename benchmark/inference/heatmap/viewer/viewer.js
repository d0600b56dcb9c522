"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const [width, height] = data.size;
  const panes = [...document.querySelectorAll(".pane")];
  const opacity = document.getElementById("opacity");
  let moving = false;

  const base = {
    width: data.shape[0], height: data.shape[1], tileSize: data.tile, tileOverlap: 0,
    minLevel: 0, maxLevel: data.levels - 1,
    getTileUrl: (level, x, y) => data.tiles[`${level}/${x}_${y}`],
  };

  function index(map) {
    const found = new Map();
    map.corners.forEach(([x, y], i) => {
      const key = `${Math.floor(x / map.side)}_${Math.floor(y / map.side)}`;
      if (!found.has(key)) found.set(key, []);
      found.get(key).push(i);
    });
    return found;
  }
  data.maps.forEach((map) => { map.index = index(map); });

  function patchAt(map, x, y) {
    const column = Math.floor(x / map.side), row = Math.floor(y / map.side);
    for (const c of [column, column - 1]) for (const r of [row, row - 1]) {
      for (const i of map.index.get(`${c}_${r}`) || []) {
        const [left, top] = map.corners[i];
        if (x >= left && x < left + map.side && y >= top && y < top + map.side) return i;
      }
    }
    return -1;
  }

  function start(pane, number) {
    const select = pane.querySelector("select"), words = pane.querySelector(".value"), legend = pane.querySelector(".legend");
    const viewer = OpenSeadragon({
      element: pane.querySelector(".view"), tileSources: [base], showNavigationControl: false, drawer: "canvas",
      maxZoomPixelRatio: 16, imageSmoothingEnabled: false, animationTime: 0.2, visibilityRatio: 0.5,
      gestureSettingsMouse: { clickToZoom: false }, crossOriginPolicy: false,
    });
    const state = { viewer, map: null, image: null, order: 0 };
    data.maps.forEach((map, i) => select.add(new Option(`${map.model}: ${map.title} ${map.magnification}x`, i)));
    select.add(new Option("no map", -1));
    select.value = Math.min(number, data.maps.length - 1);

    function show() {
      const map = state.map = data.maps[select.value] || null, mine = ++state.order;
      legend.replaceChildren();
      words.textContent = "";
      if (map) {
        const bar = document.createElement("span");
        bar.className = "bar";
        bar.style.background = `linear-gradient(to right, ${map.ramp.join(", ")})`;
        legend.append(map.ends[0], bar, map.ends[1]);
      }
      if (state.image) { viewer.world.removeItem(state.image); state.image = null; }
      if (!map) return;
      viewer.addTiledImage({
        tileSource: { type: "image", url: map.image, buildPyramid: false }, x: 0, y: 0, width: 1,
        opacity: Number(opacity.value), index: 1,
        success: ({ item }) => {
          if (mine !== state.order) { viewer.world.removeItem(item); return; }
          state.image = item;
          pane.dataset.shown = `${map.model}: ${map.title} ${map.magnification}x`;
        },
      });
    }
    select.addEventListener("change", show);
    viewer.addHandler("open", show);
    pane.querySelector(".view").addEventListener("mousemove", (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      const point = viewer.viewport.pointFromPixel(new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top));
      const x = point.x * width, y = point.y * width;
      const i = state.map ? patchAt(state.map, x, y) : -1;
      words.textContent = i < 0 ? "" : `${state.map.values[i].toPrecision(3)} at ${state.map.corners[i].map((at, k) => at + data.origin[k]).join(", ")}`;
    });
    return state;
  }

  const states = panes.map(start);
  states.forEach((state, i) => {
    for (const name of ["pan", "zoom"]) state.viewer.addHandler(name, () => {
      if (moving) return;
      moving = true;
      states.forEach((other, j) => {
        if (j === i || panes[j].hidden) return;
        other.viewer.viewport.panTo(state.viewer.viewport.getCenter(false), true);
        other.viewer.viewport.zoomTo(state.viewer.viewport.getZoom(false), null, true);
      });
      moving = false;
    });
  });
  opacity.addEventListener("input", () => states.forEach((s) => s.image && s.image.setOpacity(Number(opacity.value))));
  document.getElementById("side").addEventListener("change", (event) => {
    panes[1].hidden = !event.target.checked;
    document.body.classList.toggle("two", event.target.checked);
    window.dispatchEvent(new Event("resize"));
    setTimeout(() => states.forEach((s) => s.viewer.viewport && s.viewer.viewport.goHome(true)), 300);
  });
})();
