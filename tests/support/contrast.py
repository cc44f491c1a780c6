"""How legible the words of a page are, as the browser paints them: contrast by WCAG 2.1."""

from __future__ import annotations

import browser

LEAST = 4.5  # level AA
SCRIPT = """
(() => {
  const canvas = document.createElement("canvas");
  const paper = canvas.getContext("2d", { willReadFrequently: true });
  const channels = (colour) => { // of any colour of CSS
    paper.clearRect(0, 0, 1, 1);
    paper.fillStyle = colour;
    paper.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = paper.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (front, back) => [0, 1, 2].map((at) => front[at] * front[3] + back[at] * (1 - front[3])).concat(1);
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(channels(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((back, front) => over(front, back), [255, 255, 255, 1]);
  };
  const luminance = (colour) => {
    const linear = colour.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    const { width, height } = element.getBoundingClientRect();
    if (!text || width * height === 0) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const back = ground(element);
    const lights = [luminance(over(channels(getComputedStyle(element).color), back)), luminance(back)];
    found.push([text, (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05)]);
  }
  return found;
})()
"""


def of_texts(page: browser.Tab) -> list[tuple[str, float]]:
    """All visible pieces of text, each with its contrast."""
    return [(text, contrast) for text, contrast in page.evaluate(SCRIPT)]


def faint(page: browser.Tab) -> list[str]:
    """The texts that are too faint, with their contrasts."""
    return [f"{text!r}: {contrast:.2f}" for text, contrast in of_texts(page) if contrast < LEAST]
