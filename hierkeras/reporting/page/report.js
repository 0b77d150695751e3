"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data-json").textContent);
  const { classes, cells, thumbs, keys, tree, split } = data;
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const isolated = (text) => make("bdi", text);
  const percent = (part, whole) => whole ? (100 * part / whole).toFixed(1) + "%" : "–";
  const counted = (n, one, many) => n.toLocaleString("en") + " " + (n === 1 ? one : many);

  const photos = (numbers, alt) => {
    const box = make("div", undefined, "photos");
    for (const number of numbers) {
      if (!thumbs[number]) continue;
      const image = make("img");
      image.src = thumbs[number];
      image.decoding = "async";
      image.alt = alt + " " + keys[number];
      image.title = keys[number];
      box.append(image);
    }
    return box;
  };
  for (const place of document.querySelectorAll("[data-photos]")) {
    const numbers = place.dataset.photos.split(" ").filter(Boolean).map(Number);
    place.append(photos(numbers, "photo"));
  }

  // The theme: the reader's, until another is chosen.
  const root = document.documentElement, theme = byId("theme");
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const told = () => {
    theme.textContent = dark() ? "Light" : "Dark";
    theme.setAttribute("aria-pressed", String(dark()));
  };
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    told();
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { told(); draw(); });

  // The tree: what is not unfolded is not made.
  const member = (place) => {
    const one = classes[place], row = make("li", undefined, "member");
    const name = make("span");
    const link = make("a");
    link.href = "#class-" + place;
    link.append(isolated(one.name));
    name.append(link);
    row.append(name, make("span", one.images
      ? percent(one.images - one.right, one.images) + " of " + one.images + " wrong" : "no image", "about"));
    row.append(photos(one.photos, one.name));
    return row;
  };
  const node = (each) => {
    const box = make("details"), head = make("summary");
    const number = Array.isArray(each.classes) ? each.classes.length : each.classes;
    head.append(make("b", each.name), " " + (each.children.length ? "branch, " : "leaf, ")
      + counted(number, "class", "classes") + " ");
    head.append(make("span", (each.images
      ? percent(each.wrong, each.images) + " of " + each.images.toLocaleString("en") + " " + split + " images wrong"
      : "no " + split + " image") + Object.entries(each.about).map(([k, v]) => "; " + v + " " + k).join(""), "about"));
    box.append(head);
    let filled = false;
    box.addEventListener("toggle", () => {
      if (filled || !box.open) return;
      filled = true;
      const list = make("ul");
      if (each.children.length) for (const child of each.children) {
        const item = make("li");
        item.append(node(child));
        list.append(item);
      } else list.append(...each.classes.map(member));
      box.append(list);
    });
    return box;
  };
  const top = node(tree);
  byId("outline").append(top);
  if (tree.children.length && tree.children.length < 40) top.open = true;

  // The classes: as many rows as are asked for.
  const body = document.querySelector("#class-table tbody"), more = byId("more");
  const STEP = 100;
  let limit = STEP, listed = [];
  const recall = (one) => one.images ? one.right / one.images : 2;
  const orders = {
    hard: (a, b) => recall(classes[a]) - recall(classes[b]) || a - b,
    name: (a, b) => classes[a].name < classes[b].name ? -1 : 1,
    leaf: (a, b) => a - b,
  };
  const row = (place) => {
    const one = classes[place], line = make("tr");
    line.id = "class-" + place;
    const head = make("th");
    head.scope = "row";
    head.append(isolated(one.name));
    if (one.isNew) head.append(make("span", " new", "about note"));
    const cell = (text) => make("td", text, "n");
    const seen = make("td");
    seen.append(photos(one.photos, one.name));
    line.append(head, make("td", one.leaf), cell(one.images.toLocaleString("en")),
      cell(percent(one.right, one.images)), cell(percent(one.right, one.named)), seen);
    return line;
  };
  const list = () => {
    const asked = byId("filter").value.toLowerCase();
    listed = classes.map((_, place) => place).filter((place) =>
      classes[place].name.toLowerCase().includes(asked) || classes[place].leaf.toLowerCase().includes(asked));
    listed.sort(orders[byId("order").value]);
    body.replaceChildren(...listed.slice(0, limit).map(row));
    byId("shown").textContent = Math.min(limit, listed.length).toLocaleString("en")
      + " of " + counted(listed.length, "class", "classes");
    more.hidden = listed.length <= limit;
  };
  byId("filter").addEventListener("input", () => { limit = STEP; list(); });
  byId("order").addEventListener("change", () => { limit = STEP; list(); });
  more.addEventListener("click", () => { limit += STEP; list(); });

  // The matrix: cells beside the diagonal as they are, the diagonal by recall.
  const canvas = byId("matrix"), scroll = byId("matrix-scroll"), size = classes.length;
  const place = new Int32Array(size), at = new Int32Array(size), found = new Map();
  for (const cell of cells) found.set(cell[0] * size + cell[1], cell);
  let side = 4, chosen = null;
  const arrange = () => {
    const order = [...classes.keys()];
    if (byId("matrix-order").value === "name") order.sort(orders.name);
    else order.sort((a, b) => data.leafOrder[a] - data.leafOrder[b]);
    order.forEach((one, number) => { at[number] = one; place[one] = number; });
  };
  const draw = () => {
    const width = Math.max(scroll.clientWidth, 200);
    // No canvas is larger than browsers take.
    side = Math.min(Math.max(Math.min(width, 560) / size, .2) * Number(byId("zoom").value), 8000 / size);
    const pixels = Math.max(1, Math.round(side * size));
    canvas.width = canvas.height = pixels;
    const pen = canvas.getContext("2d"), style = getComputedStyle(root);
    const paint = (x, y, share, colour) => {
      // A few of many images are to be seen, too.
      pen.globalAlpha = .08 + .92 * Math.sqrt(share);
      pen.fillStyle = colour;
      pen.fillRect(x * side, y * side, Math.max(side, 1), Math.max(side, 1));
    };
    const ink = style.getPropertyValue("--accent"), bad = style.getPropertyValue("--bad");
    classes.forEach((one, number) => {
      if (one.right) paint(place[number], place[number], one.right / one.images, ink);
    });
    for (const [is, named, count] of cells) paint(place[named], place[is], count / classes[is].images, bad);
    pen.globalAlpha = 1;
    if (byId("matrix-order").value === "leaf") {
      pen.fillStyle = style.getPropertyValue("--soft");
      for (const border of data.borders) {
        pen.fillRect(0, border * side, pixels, 1);
        pen.fillRect(border * side, 0, 1, pixels);
      }
    }
    if (chosen) {
      pen.strokeStyle = style.getPropertyValue("--ink");
      pen.lineWidth = 2;
      pen.strokeRect(chosen[1] * side - 1, chosen[0] * side - 1, side + 2, side + 2);
    }
  };
  const show = (down, across) => {
    if (down < 0 || across < 0 || down >= size || across >= size) return;
    chosen = [down, across];
    const is = at[down], named = at[across], one = classes[is];
    const cell = found.get(is * size + named);
    const count = is === named ? one.right : cell ? cell[2] : 0;
    const line = make("p");
    line.append(make("b", count.toLocaleString("en")), " of " + counted(one.images, "image", "images") + " of ",
      isolated(one.name), is === named ? " named right" : " named ");
    if (is !== named) line.append(isolated(classes[named].name));
    const behind = is === named ? one.photos : cell ? cell[3] : [];
    byId("cell").replaceChildren(line, photos(behind, one.name));
    if (behind.length < count) byId("cell").append(make("p",
      behind.length ? "The first " + behind.length + " are shown." : "No photo of it is on this page.", "note"));
    history.replaceState(null, "", "#cell-" + is + "-" + named);
    draw();
  };
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
    const to = (value) => Math.floor(value * scale / side);
    let down = to(event.clientY - box.top), across = to(event.clientX - box.left);
    if (side < 6) [down, across] = near(down, across);
    show(down, across);
  });
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect(), scale = canvas.width / box.width;
    const to = (value) => Math.min(size - 1, Math.max(0, Math.floor(value * scale / side)));
    const one = classes[at[to(event.clientY - box.top)]], other = classes[at[to(event.clientX - box.left)]];
    canvas.title = one.name + (one === other ? "" : " named " + other.name);
  });
  // Small cells: the nearest that holds something.
  const near = (down, across) => {
    const reach = Math.ceil(4 / side);
    let best = [down, across], least = Infinity;
    const look = (y, x) => {
      const far = Math.max(Math.abs(y - down), Math.abs(x - across));
      if (far <= reach && far < least) { least = far; best = [y, x]; }
    };
    for (const [is, named] of cells) look(place[is], place[named]);
    return best;
  };
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const [down, across] = chosen || [0, 0];
    show(down + step[0], across + step[1]);
  });
  byId("matrix-order").addEventListener("change", () => { chosen = null; arrange(); draw(); });
  byId("zoom").addEventListener("input", draw);
  addEventListener("resize", draw);

  // Addresses: #class-7, #cell-7-9.
  const go = () => {
    const [kind, one, other] = location.hash.slice(1).split("-");
    if (kind === "class" && classes[one]) {
      byId("filter").value = "";
      list();
      limit = Math.max(limit, listed.indexOf(Number(one)) + 1);
      list();
      byId("class-" + one).scrollIntoView({ block: "center" });
    } else if (kind === "cell" && classes[one] && classes[other]) {
      show(place[one], place[other]);
      canvas.scrollIntoView({ block: "center" });
    }
  };
  addEventListener("hashchange", go);
  told();
  arrange();
  list();
  draw();
  go();
})();
