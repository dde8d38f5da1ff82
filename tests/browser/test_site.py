"""The site as a browser shows it: from files, without a network, on a desktop and on a phone."""

import functools
import itertools
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from conftest import ROOT

SITE = ROOT / "docs" / "_build" / "html"
PAGES = sorted(
    str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if "_static" not in path.parts
)


class Links(HTMLParser):
    """Collects what a page links to, its anchors and its pictures without a description."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors, self.undescribed = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if tag == "a" and attributes.get("href"):
            self.links.append(attributes["href"])
        if tag == "img":
            self.links.append(attributes["src"])
            if not attributes.get("alt"):
                self.undescribed.append(attributes["src"])


@functools.cache  # every page links to most others, and a notebook has a megabyte
def links_of(page):
    return Links((SITE / page).read_text(encoding="utf-8"))


def new_tab(browser, width=1280, height=900, **options):
    """An empty tab; foreign requests are refused and counted, errors collected."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    tab = context.new_page()
    tab.foreign, tab.errors = [], []
    tab.on("console", lambda m: tab.errors.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))

    def answer(route):
        if urlsplit(route.request.url).scheme in ("file", "data", "blob"):
            route.continue_()
        else:
            tab.foreign.append(route.request.url)
            route.abort()

    context.route("**/*", answer)
    return tab


def load(tab, page):
    """Shows a page of the site, and waits until its formulas are typeset."""
    tab.foreign.clear()
    tab.errors.clear()
    tab.goto((SITE / page).as_uri())
    tab.wait_for_function("!window.MathJax?.startup || window.MathJax.startup.promise")
    tab.evaluate("window.MathJax?.startup?.promise")


@pytest.fixture
def opened(browser, site):
    """Opens a page of the site in a tab of its own."""
    tabs = []

    def open_page(page, **options):
        tabs.append(new_tab(browser, **options))
        load(tabs[-1], page)
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.context.close()


@pytest.fixture(scope="module")
def one_tab(browser):
    """One tab for many pages: it reads MathJax once, which takes as long as a page."""
    tab = new_tab(browser)
    yield tab
    tab.context.close()


def test_there_are_pages():
    assert {"index.html", "claims.html", "explorer.html"} <= set(PAGES)
    assert sum(page.startswith("notebooks/") for page in PAGES) == 15


# What MathJax leaves of a formula that it did not read, and how many it could not typeset.
RAW_TEX = r"""() => {
  const article = document.querySelector("article").cloneNode(true);
  article.querySelectorAll("pre, code, mjx-container, script").forEach((e) => e.remove());
  const found = article.textContent.match(/\$\$|\\\(|\\\[|\\[a-z]{3,}/);
  return [found && found[0], document.querySelectorAll("mjx-merror").length];
}"""
# Pictures that are loaded late count too: the browser is asked to load them now.
BROKEN_IMAGES = """async () => {
  const images = [...document.images];
  images.forEach((image) => { image.loading = "eager"; });
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  return images.filter((image) => image.naturalWidth === 0).map((image) => image.src);
}"""


# The theme hides what the page itself would scroll, and lets its middle scroll instead.
WIDTH = """() => Math.max(
  ...[...document.querySelectorAll("html, .content")].map((element) => element.scrollWidth)
)"""


@pytest.mark.parametrize("page", PAGES)
def test_page_reads_well(one_tab, site, page):
    """No error, no other host, every formula typeset, every picture shown; it fits a phone.

    On a phone nothing but a table, a formula or code scrolls sideways.
    """
    tab = one_tab
    tab.set_viewport_size({"width": 1280, "height": 900})
    load(tab, page)
    assert tab.evaluate(RAW_TEX) == [None, 0]
    assert tab.evaluate(BROKEN_IMAGES) == []
    tab.set_viewport_size({"width": 390, "height": 844})
    assert tab.evaluate(WIDTH) <= 390
    assert tab.foreign == []
    assert tab.errors == []


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_has_a_description(site, page):
    assert links_of(page).undescribed == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(site, page):
    broken = []
    for link in links_of(page).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (site / page).parent / unquote(parts.path) if parts.path else site / page
        if not target.exists():
            broken.append(link)
        elif parts.fragment and target.suffix == ".html":
            anchors = links_of(str(target.resolve().relative_to(site))).anchors
            if unquote(parts.fragment) not in anchors:
                broken.append(link)
    assert broken == []


def pixels(tab, selector):
    """The grey values that a canvas shows."""
    return tab.evaluate(
        """(selector) => {
          const canvas = document.querySelector(selector);
          const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return Array.from(image.data).filter((_, k) => k % 4 === 0);
        }""",
        selector,
    )


LEFT, RIGHT = "#explorer .pane:nth-of-type(1)", "#explorer .pane:nth-of-type(2)"


def settle(tab):
    """Waits until the page has drawn what it was asked for."""
    tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")


@pytest.mark.parametrize("pane", [LEFT, RIGHT])
def test_digit_follows_the_pointer_and_the_keys(opened, pane):
    tab = opened("explorer.html")
    seen = []
    place = tab.locator(f"{pane} > canvas").bounding_box()
    for share in (0.2, 0.8):
        tab.mouse.move(place["x"] + share * place["width"], place["y"] + 0.5 * place["height"])
        settle(tab)
        seen.append((tab.inner_text(f"{pane} .readout"), pixels(tab, f"{pane} .digit")))
    tab.focus(f"{pane} > canvas")
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"):
        tab.keyboard.press(key)
        settle(tab)
        seen.append((tab.inner_text(f"{pane} .readout"), pixels(tab, f"{pane} .digit")))
    for before, after in itertools.pairwise(seen):
        assert before[0] != after[0]
        assert before[1] != after[1]
    assert tab.errors == []


def test_draws_are_decoded_by_both_networks(opened):
    tab = opened("explorer.html")
    tab.click("#explorer button")
    settle(tab)
    assert tab.locator(f"{LEFT} .strip canvas").count() == 20
    assert tab.locator(f"{RIGHT} .strip canvas").count() == 20
    assert pixels(tab, f"{LEFT} .strip canvas") != pixels(tab, f"{RIGHT} .strip canvas")


def test_path_is_chosen_by_keys_and_by_double_clicks(opened):
    tab = opened("explorer.html")
    tab.focus(f"{LEFT} > canvas")
    tab.keyboard.press("Enter")
    for _ in range(10):
        tab.keyboard.press("ArrowUp")
    tab.keyboard.press("Enter")
    settle(tab)
    assert tab.locator(f"{LEFT} .strip canvas").count() == 10
    size = tab.locator(f"{RIGHT} > canvas").bounding_box()["width"]
    for share in (0.3, 0.7):
        tab.dblclick(f"{RIGHT} > canvas", position={"x": share * size, "y": 0.5 * size})
    assert tab.locator(f"{RIGHT} .strip canvas").count() == 10


def test_beta_changes_the_vae_and_the_largest_collapses(opened):
    tab = opened("explorer.html")
    titles, digits = [], []
    for beta in range(5):
        tab.fill("#beta", str(beta))
        tab.focus(f"{RIGHT} > canvas")
        for _ in range(8):
            tab.keyboard.press("ArrowRight")
        settle(tab)
        titles.append(tab.inner_text(f"{RIGHT} h3"))
        before = pixels(tab, f"{RIGHT} .digit")
        for _ in range(8):
            tab.keyboard.press("ArrowUp")
        settle(tab)
        after = pixels(tab, f"{RIGHT} .digit")
        digits.append(sum(abs(a - b) for a, b in zip(before, after, strict=True)) / 784)
    assert len(set(titles)) == 5
    assert digits[-1] < 2 < min(digits[:3])  # grey values of 255


def test_explorer_is_touched_on_a_phone(opened):
    tab = opened("explorer.html", width=390, height=844, has_touch=True, is_mobile=True)
    tab.locator(f"{LEFT} > canvas").scroll_into_view_if_needed()
    before = pixels(tab, f"{LEFT} .digit")
    tab.tap(f"{LEFT} > canvas", position={"x": 40, "y": 40})
    settle(tab)
    assert pixels(tab, f"{LEFT} .digit") != before


def test_a_frame_of_the_explorer_is_drawn_in_time_for_sixty_a_second(opened):
    """What one move computes and draws, in the median of a hundred; no bound on a busy machine."""
    tab = opened("explorer.html")
    milliseconds = tab.evaluate(
        """() => {
          const network = readNetwork(EXPLORER_DATA.networks[0]);
          const canvas = document.createElement("canvas");
          canvas.width = canvas.height = 28;
          const times = [];
          for (let k = 0; k < 100; k++) {
            const start = performance.now();
            paintDigit(canvas, decode(network, [k / 20, -k / 30]));
            times.push(performance.now() - start);
          }
          return times.sort((a, b) => a - b)[50];
        }"""
    )
    print(f"one digit: {milliseconds:.2f} ms")
    assert milliseconds < 1000 / 60
