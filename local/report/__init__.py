"""Stage 5: the page `report.html`, run as `python -m local.report`.

`__main__` gathers and writes it; `tables`, `plots` (drawn by `svg`), `siblings` (the experiments beside
it) and `mistakes` are its parts; `page.html.j2`, `page.css` and `page.js` are its form.
"""
