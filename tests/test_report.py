"""`python -m hierkeras.report` as its user meets it, in a real browser."""

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from hierkeras import evaluate, increment, report
from tests.conftest import write_images

LONG = "long " * 1000
HOSTILE = (
    "<script>document.title='mine'</script>",
    "\"quoted\" & 'so'",
    "\u202eright to left \u05d0\u05d1",
    LONG.strip(),
    "</script><img src=x onerror=\"document.title='mine'\">",
    "plain",
)
FILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="module")
def grown(run_main, tmp_path_factory):
    """A work directory: three classes, then three by a clone increment."""
    root = tmp_path_factory.mktemp("report")
    rows = []
    for number, name in enumerate(HOSTILE):
        folder = root / "images" / str(number)
        write_images(folder, range(12), number)
        (folder / "0.png").rename(folder / FILE)
        rows += [(f"{number}/{p.name}", name) for p in sorted(folder.iterdir())]
    with (root / "images" / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    outcome = run_main(
        increment,
        f"--dataset=csv:{root / 'images' / 'list.csv'}",
        f"--workdir={root / 'workdir'}",
        "--class_batches=3,3",
        "--growth=clone",
        "--num_superclasses=2",
        "--set=min_classes_to_clone=2",
        "--image_size=8",
        "--width_multiplier=0.5",
        "--max_epochs=1",
        "--batch_size=8",
        "--validation_fraction=0.2",
        "--test_fraction=0.3",
        "--augment=none",
        "--noexport",
    )
    assert outcome.status == 0, outcome.stderr
    return root / "workdir", outcome


@pytest.fixture(scope="module")
def page(grown):
    return (grown[0] / "report" / "index.html").read_text(encoding="utf-8")


def data_of(page):
    found = re.search(r'id="data-json">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_an_increment_of_photos_writes_it_and_says_where(grown):
    workdir, outcome = grown
    assert f"report: {workdir}/report/index.html" in outcome.stdout


def test_digits_are_no_photos(digits_tree):
    assert not (digits_tree.workdir / "report").exists()


def test_it_says_what_evaluate_says(grown, page, run_main):
    outcome = run_main(evaluate, f"--workdir={grown[0]}", "--format=json")
    evaluated = json.loads(outcome.stdout)
    data = data_of(page)
    wrong = sum(cell[2] for cell in data["cells"])
    images = sum(one["images"] for one in data["classes"])
    assert images == evaluated["num_examples"]
    assert wrong / images == pytest.approx(evaluated["top1_error"])
    assert f"{evaluated['top1_error']:.1%} are named wrong" in page
    assert data["tree"]["wrong"] == wrong
    assert sorted(one["name"] for one in data["classes"]) == sorted(HOSTILE)
    assert len(data["tree"]["children"]) == evaluated["num_leaves"]


def test_every_photo_that_is_shown_is_there(page):
    data = data_of(page)
    shown = [n for one in data["classes"] for n in one["photos"]]
    shown += [n for cell in data["cells"] for n in cell[3]]
    assert shown and max(shown) < len(data["thumbs"]) == len(data["keys"])
    assert all(
        data["thumbs"][number].startswith("data:image/jpeg") for number in shown
    )


def test_the_policy_lets_its_script_run_and_no_other(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*?)</script>", page, re.S)
    assert policy and script
    digest = hashlib.sha256(script[1].encode()).digest()
    allowed = base64.b64encode(digest).decode()
    shown = policy[1].replace("&#39;", "'")
    assert f"script-src 'sha256-{allowed}'" in shown
    assert "default-src 'none'" in shown


def test_it_needs_no_other_file(page):
    places = re.findall(r'(?:src|href)\s*=\s*"([^"]*)"', page)
    assert {"#tree", "#classes"} <= set(places)
    assert all(re.match("#", p) for p in places if "onerror" not in p)
    assert "@import" not in page and "url(" not in page.replace("url(#", "")


def test_it_can_be_made_again(grown, run_main, tmp_path):
    workdir = tmp_path / "workdir"
    shutil.copytree(grown[0], workdir)
    outcome = run_main(
        report, f"--workdir={workdir}", "--against=0", "--format=json"
    )
    assert outcome.status == 0, outcome.stderr
    path = Path(json.loads(outcome.stdout)["report"])
    assert path == workdir / "report" / "index.html"
    assert "Against generation" not in path.read_text(encoding="utf-8")


def test_an_earlier_generation_has_its_own(grown, run_main, tmp_path):
    workdir = tmp_path / "workdir"
    shutil.copytree(grown[0], workdir)
    outcome = run_main(report, f"--workdir={workdir}", "--generation=1")
    assert outcome.status == 0, outcome.stderr
    page = (workdir / "report" / "index.html").read_text(encoding="utf-8")
    assert len(data_of(page)["classes"]) == 3


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--against=2",), ["--against=2", "about"]),
        (("--against=7",), ["--against=7", "has 1, 2"]),
        (("--generation=9",), ["--generation=9", "has 1, 2"]),
    ],
)
def test_generations_that_cannot_be_compared(grown, run_main, flags, named):
    outcome = run_main(report, f"--workdir={grown[0]}", *flags)
    outcome.check_refused(1, *named)


def test_what_flipped_is_shown(page):
    assert "Against generation 1" in page
    assert "classes that both know" in page


@pytest.fixture(scope="module")
def chromium(grown):
    # Grown before: Playwright's event loop runs in this thread from here on.
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_api.sync_playwright() as playwright:
        if (
            not program
            and not Path(playwright.chromium.executable_path).exists()
        ):
            pytest.skip("there is no Chromium")
        with playwright.chromium.launch(executable_path=program) as browser:
            yield browser


@pytest.fixture
def opened(chromium, grown):
    """The page, and what its console and its network saw."""
    path = grown[0] / "report" / "index.html"
    with chromium.new_context(color_scheme="light") as context:
        tab = context.new_page()
        seen = []
        tab.on("console", lambda message: seen.append(message.text))
        tab.on("pageerror", lambda error: seen.append(str(error)))
        tab.on(
            "request",
            lambda request: (
                seen.append(request.url)
                if not request.url.startswith(("file:", "data:"))
                else None
            ),
        )
        tab.goto(path.as_uri())
        yield tab
        assert seen == []


def test_names_are_text_in_a_browser(opened):
    assert "mine" not in opened.title()
    shown = opened.locator("#class-table tbody th bdi").all_inner_texts()
    assert sorted(shown) == sorted(HOSTILE)
    assert opened.evaluate("document.documentElement.scrollWidth") <= (
        opened.evaluate("innerWidth")
    )


def test_the_tree_unfolds_to_a_class_and_its_photos(opened):
    leaf = opened.locator("#outline details details").first
    leaf.locator("summary").first.click()
    member = leaf.locator("li.member").first
    assert member.locator("bdi").inner_text() in HOSTILE
    assert member.locator("img").count() > 0
    assert member.locator("img").first.evaluate("i => i.naturalWidth") == 8


def test_classes_are_filtered(opened):
    opened.locator("#filter").fill("PLAIN")
    assert opened.locator("#class-table tbody tr").count() == 1
    assert opened.locator("#shown").inner_text() == "1 of 1 class"


def test_a_click_on_a_cell_shows_the_photos_behind_it(opened, page):
    data = data_of(page)
    true, named, count, photos = data["cells"][0]
    size = len(data["classes"])
    opened.locator("#matrix").scroll_into_view_if_needed()
    box = opened.locator("#matrix").bounding_box()
    side = box["width"] / size
    at = data["leafOrder"]
    opened.mouse.click(
        box["x"] + (at[named] + 0.5) * side, box["y"] + (at[true] + 0.5) * side
    )
    names = opened.locator("#cell bdi").all_inner_texts()
    classes = data["classes"]
    assert names == [classes[true]["name"], classes[named]["name"]]
    assert opened.locator("#cell b").inner_text() == str(count)
    assert opened.locator("#cell img").count() == len(photos)
    assert opened.url.endswith(f"#cell-{true}-{named}")


def test_cells_are_reached_by_the_keyboard(opened):
    opened.locator("#matrix").focus()
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowDown")
    assert "of" in opened.locator("#cell p").first.inner_text()


def test_an_address_leads_to_a_class(opened):
    opened.goto(opened.url.split("#")[0] + "#class-4")
    assert opened.locator("#class-4").is_visible()


def test_themes_are_switched(opened):
    def paper():
        return opened.evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )

    light = paper()
    opened.locator("#theme").click()
    assert paper() != light
    opened.locator("#theme").click()
    assert paper() == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_a_screen_reader(opened, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened.emulate_media(color_scheme=scheme)
    for closed in opened.locator("#outline details details summary").all():
        closed.click()
    found = axe.Axe().run(opened)
    assert found.violations_count == 0, found.generate_report()


def test_screenshots_are_written_where_they_can_be_kept(opened, tmp_path):
    folder = Path(os.environ.get("HIERKERAS_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.png"
    opened.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 10_000


@pytest.mark.slow
def test_a_page_of_thousands_of_classes_opens_at_once(chromium, tmp_path):
    sys.path.append(str(Path(__file__).resolve().parent.parent / "tools"))
    import bench_report

    page = bench_report.make(tmp_path, 2282, 1000, 50, 0.5)
    assert page.stat().st_size < 8e6
    tab = chromium.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("#class-table tbody tr")
    tab.locator("#filter").fill("class 02281")
    assert tab.locator("#class-table tbody tr").count() == 1
    paint = tab.evaluate(
        "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    assert paint < 2000
