const large = document.getElementById("large");
document.querySelectorAll("a > img").forEach(image => image.parentNode.addEventListener("click", event => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  large.firstChild.src = image.parentNode.href;
  large.classList.add("open");
}));
large.addEventListener("click", () => large.classList.remove("open"));
document.addEventListener("keydown", event => { if (event.key === "Escape") large.classList.remove("open"); });

const table = document.getElementById("table");
if (table) {
  const body = table.tBodies[0];
  document.getElementById("find").addEventListener("input", event => {
    const wish = event.target.value.toLowerCase();
    for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wish);
  });
  const key = (row, column) => {
    const text = row.cells[column].textContent.trim().replaceAll("\u2212", "-");
    const number = parseFloat(text);
    return column > 1 && !isNaN(number) ? number : text;
  };
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    let way = 1;
    head.addEventListener("click", () => {
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a, column), y = key(b, column);
        if (typeof x === typeof y) return way * (x < y ? -1 : x > y ? 1 : 0);
        return typeof x === "number" ? -1 : 1;
      });
      way = -way;
      body.append(...rows);
    });
  });
}
