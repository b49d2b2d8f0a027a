"""The page in a real browser: loads from a file, asks nobody, sorts, reads well on a phone and in the dark.

Needs Chromium, its driver and selenium; skipped with a reason where one is missing.
"""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from benchkit.core.records import Noise

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
TABLE = "section[aria-labelledby=comparison] table"
CELL = TABLE + " tbody tr > :nth-child({})"


@pytest.fixture(scope="module")
def browser_path():
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("selenium is not installed: pip install 'benchkit[dev]'")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no Chromium with its driver: apt-get install chromium chromium-driver")
    return browser, driver


def open_browser(browser_path, folder, *, scripts=True):
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = browser_path[0]
    for flag in (*FLAGS, f"--user-data-dir={folder}"):
        options.add_argument(flag)
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return Chrome(options=options, service=Service(browser_path[1]))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a small study, with a noisy and a void row, written by the report room itself."""
    pytest.importorskip("jinja2")
    pytest.importorskip("vl_convert")
    from benchkit.report.page import write_report

    builders = report_builders()
    spoiled, disturbed = builders.facts("spoiled"), builders.facts("disturbed")
    void, noisy = Noise(verdict="invalid", reasons=("NaN",)), Noise(verdict="noisy", reasons=("a neighbour",))
    records = builders.study(tasks=("sst2", "mrpc"), cells=((1, 32), (1, 128), (8, 128)))
    records += [builders.profile(spoiled, noise=void), builders.profile(disturbed, noise=noisy)]
    thorough, busy = builders.facts("thorough"), builders.facts("busy")
    proof = {"proof": builders.PROOF, "sampling": builders.SAMPLING}
    records += [builders.profile(thorough, measurements=builders.thorough(), **proof)]
    records += [builders.served(busy, cell={"load": 0.5}), builders.compared(busy, thorough)]
    return write_report(records, tmp_path_factory.mktemp("page"), title="A study <of> models")[0]


def report_builders():
    """The builders of records of the report room's own tests, loaded by path: no package holds them."""
    path = Path(__file__).parents[1] / "unit" / "report" / "conftest.py"
    spec = importlib.util.spec_from_file_location("report_builders", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def browser(browser_path, page, tmp_path_factory):
    driver = open_browser(browser_path, tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def loaded(browser, page):
    resize(browser, 1280)
    dark(browser, False)
    browser.get("about:blank")
    # What the browser itself did before, its own new tab above all, is not the page's doing.
    browser.get_log("performance")
    browser.get(page.as_uri())
    return browser


def resize(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def dark(browser, on):
    features = [{"name": "prefers-color-scheme", "value": "dark" if on else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def column_of(browser, title):
    heads = browser.find_elements("css selector", f"{TABLE} thead th .head")
    return 1 + next(k for k, head in enumerate(heads) if head.text.startswith(title))


def values(browser, number):
    cells = browser.find_elements("css selector", CELL.format(number))
    return [cell.get_attribute("data-sort") for cell in cells]


def heading(browser, number):
    return browser.find_element("css selector", f"{TABLE} thead th:nth-child({number})")


def test_it_loads_without_an_error_or_a_request(loaded, page):
    assert loaded.title == "A study <of> models"
    assert [entry for entry in loaded.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    messages = [json.loads(entry["message"])["message"] for entry in loaded.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file://", "data:"))] == []
    assert page.as_uri() in asked


def test_a_click_sorts_and_another_turns_it_round(loaded):
    number = column_of(loaded, "latency p50")
    head = heading(loaded, number)
    head.find_element("css selector", "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    known = [float(value) for value in values(loaded, number) if value is not None]
    assert known == sorted(known)
    # The void row has no figure: it stays last both ways.
    assert values(loaded, number)[-1] is None
    head.find_element("css selector", "button").click()
    assert head.get_attribute("aria-sort") == "descending"
    known = [float(value) for value in values(loaded, number) if value is not None]
    assert known == sorted(known, reverse=True)
    assert values(loaded, number)[-1] is None


def test_the_better_end_comes_first(loaded):
    number = column_of(loaded, "score")
    heading(loaded, number).find_element("css selector", "button").click()
    assert heading(loaded, number).get_attribute("aria-sort") == "descending"


def test_the_keyboard_sorts(loaded):
    from selenium.webdriver.common.keys import Keys

    number = column_of(loaded, "artifact")
    loaded.find_element("css selector", f"{TABLE} thead button").send_keys(Keys.ENTER)
    names = values(loaded, number)
    assert names == sorted(names)
    focused = loaded.switch_to.active_element
    assert focused.tag_name == "button"
    focused.send_keys(Keys.TAB)
    loaded.switch_to.active_element.send_keys(Keys.SPACE)
    assert heading(loaded, number + 1).get_attribute("aria-sort") == "ascending"
    assert heading(loaded, number).get_attribute("aria-sort") is None


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_overflows_the_page(loaded, width):
    resize(loaded, width)
    assert loaded.execute_script("return document.documentElement.scrollWidth") <= width
    wide = "return [...document.querySelectorAll('figure, section, h1')].every(e => e.scrollWidth <= e.clientWidth + 1)"
    assert loaded.execute_script(wide)


def test_the_dark_page_is_dark_and_its_text_light(loaded):
    def luminance(css, element="body"):
        color = loaded.execute_script(f"return getComputedStyle(document.querySelector('{element}')).{css}")
        red, green, blue = (int(part) for part in color[color.index("(") + 1 : -1].split(",")[:3])
        return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255

    assert luminance("backgroundColor") > 0.9
    assert luminance("fill", "figure svg text") < 0.2
    dark(loaded, True)
    assert luminance("backgroundColor") < 0.1
    assert luminance("color") > 0.8
    assert luminance("fill", "figure svg text") > 0.8


def test_the_figures_behind_a_chart_unfold(loaded):
    details = loaded.find_element("css selector", "figure details")
    assert not details.find_element("css selector", "table").is_displayed()
    details.find_element("css selector", "summary").click()
    assert details.find_element("css selector", "table").is_displayed()


def test_what_lies_behind_a_row_unfolds_with_its_chart_and_fits(loaded):
    rows = loaded.find_elements("css selector", "details.row")
    row = next(row for row in rows if "thorough" in row.find_element("css selector", "summary").text)
    picture = row.find_element("css selector", ".part > svg")
    assert not picture.is_displayed()
    row.find_element("css selector", "summary").click()
    assert picture.is_displayed()
    assert [head.text for head in row.find_elements("css selector", "h4")][:3] == ["What ran", "Operators", "Sampling"]
    for width in (390, 768, 1280):
        resize(loaded, width)
        assert loaded.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_reason_of_an_absence_is_on_the_cell(loaded):
    number = column_of(loaded, "latency p50")
    cells = loaded.find_elements("css selector", CELL.format(number))
    assert "not part of scenario server" in [cell.get_attribute("title") for cell in cells]


def test_a_long_table_sorts_by_what_is_read(browser, tmp_path):
    from benchkit.report.details import MANY_ROWS
    from benchkit.report.page import write_report

    builders = report_builders()
    records = [builders.profile(builders.facts(f"m{k}"), median_s=0.0004 * (k + 1)) for k in range(MANY_ROWS + 1)]
    records[7] = builders.profile(builders.facts("void"), noise=Noise(verdict="invalid", reasons=("NaN",)))
    browser.get(write_report(records, tmp_path)[0].as_uri())
    number = column_of(browser, "latency p50")
    for sign in (1, -1):
        heading(browser, number).find_element("css selector", "button").click()
        read = "return [...document.querySelectorAll(arguments[0])].map((cell) => cell.firstChild.textContent.trim())"
        texts = browser.execute_script(read, CELL.format(number))
        assert texts[-1] == "void"
        figures = [sign * float(text.replace(",", "")) for text in texts[:-1]]
        assert figures == sorted(figures)


def test_it_can_be_printed(loaded):
    assert len(loaded.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]) > 50_000


def test_with_scripts_off_every_figure_is_there(browser_path, page, tmp_path):
    driver = open_browser(browser_path, tmp_path / "profile", scripts=False)
    try:
        driver.get(page.as_uri())
        assert driver.find_elements("css selector", f"{TABLE} button") == []
        pictures = driver.find_elements("css selector", "figure > svg")
        assert len(pictures) >= 4
        assert all(picture.rect["height"] > 100 for picture in pictures)
        assert len(driver.find_elements("css selector", f"{TABLE} tbody tr")) >= 10
        assert driver.find_elements("css selector", "table.heat td")
    finally:
        driver.quit()
