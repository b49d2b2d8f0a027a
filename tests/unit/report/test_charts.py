"""What charts show: thinning, scales, places for labels, and which rows when there are too many."""

import re
import xml.etree.ElementTree as ET

import pytest

from benchkit.core.records import Measured, Noise, Statistic
from benchkit.report.charts import charts_of
from benchkit.report.curves import distribution, over_time
from benchkit.report.entries import entries_of
from benchkit.report.heatmaps import heatmaps_of
from benchkit.report.scales import label_places, linear_scale, log_scale
from benchkit.report.selection import representatives
from benchkit.report.svg import svg_from_spec, tidy


def test_a_thinned_distribution_keeps_its_ends_and_its_shape():
    values = [float((7 * k) % 1000) for k in range(1000)]
    curve = distribution(values, 100)
    assert len(curve) == 100
    assert curve[0] == (0.0, 0.001)
    assert curve[-1] == (999.0, 1.0)
    assert all(abs(share - (value + 1) / 1000) < 1e-12 for value, share in curve)
    assert distribution([3.0, 1.0, 2.0]) == [(1.0, 1 / 3), (2.0, 2 / 3), (3.0, 1.0)]
    assert distribution([5.0]) == [(5.0, 1.0)]


def test_no_spike_is_lost_over_time():
    values = [1.0] * 5000
    values[1234], values[4321] = 9.0, 0.1
    thinned = over_time(values, 200)
    assert len(thinned) <= 200
    assert (1234, 9.0) in thinned
    assert (4321, 0.1) in thinned
    assert over_time([2.0, 1.0]) == [(0, 2.0), (1, 1.0)]


@pytest.mark.parametrize("values", [[1.8, 240.0], [9.9, 10.1], [1e-6, 1e9], [5.0], [1e-9, 1e12]])
def test_log_ticks_are_few_and_inside(values):
    scale = log_scale(values)
    assert scale.low < min(values)
    assert scale.high > max(values)
    assert len(scale.ticks) <= 7
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert scale.value(scale.share(values[0])) == pytest.approx(values[0])


@pytest.mark.parametrize("values", [[0.0, 0.0], [88.4, 93.1], [-3.0, 5.0], [1e9, 1.1e9]])
def test_linear_ticks_are_few_and_inside(values):
    scale = linear_scale(values)
    assert 1 <= len(scale.ticks) <= 9
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)


def test_labels_hide_neither_points_nor_each_other():
    points = [(100.0, 100.0, "one label"), (104.0, 103.0, "another label"), (390.0, 5.0, "at the edge")]
    places = label_places(points, [(0, 98, 400, 102)], width=400, height=250)
    boxes = [(x, y - 6, x + 6 * len(p[2]), y + 6) for (x, y), p in zip(places, points, strict=True)]
    for k, a in enumerate(boxes):
        assert a[0] >= 0
        assert a[2] <= 400
        assert all(a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3] for b in boxes[k + 1 :])
    # The first one finds a place beside the line that runs through its point.
    assert abs(places[0][1] - 100) > 6


def test_crowded_labels_give_up_rather_than_overlap():
    points = [(50.0, 50.0, "a very long label that needs much room") for _ in range(40)]
    assert label_places(points, [], width=100, height=100).count(None) == 40


def test_artifacts_that_differ_only_in_task_are_drawn_once(make_study):
    entries = [e for e in entries_of(make_study()) if (e.place.batch_size, e.place.sequence_length) == (1, 128)]
    chosen = representatives(entries, most=12)
    assert len(chosen.entries) == 8
    assert chosen.remark == "Artifacts that differ only in their task are drawn once (8 of 20)."


def test_what_is_left_out_is_said(make_facts, make_profile):
    records = [make_profile(make_facts(f"m{k:02}"), median_s=0.001 * (k + 1)) for k in range(15)]
    entries = entries_of(records)
    slowest = entries[-1].record.record_id
    chosen = representatives(entries, most=12, prefer=frozenset([slowest]))
    assert len(chosen.entries) == 12
    assert chosen.entries[-1].record.record_id == slowest
    assert chosen.remark == "Left out for want of room: m11 fp32, m12 fp32 and m13 fp32."


def test_every_task_has_its_front_and_every_chart_its_figures(make_study):
    charts = charts_of(entries_of(make_study()))
    assert [c.title for c in charts if c.name.startswith("front")] == [
        "mrpc: f1 against latency",
        "sst2: accuracy against latency",
        "stsb: spearman against latency",
    ]
    assert {c.name[:4] for c in charts} == {"fron", "spre", "memo", "time"}
    assert len({c.name for c in charts}) == len(charts)
    for chart in charts:
        assert chart.rows
        assert all(len(row) == len(chart.heads) for row in chart.rows)
        root = ET.fromstring(svg_from_spec(chart.spec, name=chart.name, title=chart.title))
        assert len(list(root.iter("path"))) + len(list(root.iter("line"))) > 5


def test_the_front_draws_each_point_and_names_it(make_study):
    chart = charts_of(entries_of(make_study(tasks=("sst2",))))[0]
    svg = svg_from_spec(chart.spec, name="front", title=chart.title)
    words = [element.text for element in ET.fromstring(svg).iter("text")]
    for name in ("small fp32", "small dynamic-int8", "large fp32", "merged fp32"):
        assert name in words
    assert svg.count("var(--paper)") == 2  # the two merged ones are beaten: hollow
    assert [row[3] for row in chart.rows] == ["yes", "yes", "no", "yes", "no", "yes"]


def test_void_rows_are_in_no_chart_but_the_raw_one(troubled):
    charts = charts_of(entries_of(troubled))
    for chart in charts:
        drawn = str(chart.spec) + str(chart.rows)
        assert ("broken" in drawn + chart.title) == (chart.title == "broken fp32, call by call")
    raw = next(chart for chart in charts if chart.title.startswith("broken"))
    assert "Void: the model gives the same answer" in raw.caption


def test_records_without_raw_values_or_with_odd_ones_draw_what_they_can(
    make_facts, make_profile, make_score, no_energy
):
    a, b = make_facts("a"), make_facts("b")
    bare = make_profile(a)
    latency = bare.measurements["latency"].model_copy(update={"runs": ((0.0, -1.0),)})
    records = [
        bare.model_copy(update={"measurements": bare.measurements | {"latency": latency}}),
        make_profile(b, measurements={"latency": no_energy, "peak_memory": no_energy}),
        make_score(a, "sst2", 0.9),
    ]
    charts = charts_of(entries_of(records))
    assert [chart.name for chart in charts] == ["front1", "memory1"]


def test_absurd_values_spoil_no_chart(make_facts, make_profile, make_score, troubled):
    absurd = make_facts("absurd")
    sick = Statistic(value=1e300, low=1e-300, high=1e305, n=100)
    records = [
        *troubled,
        make_profile(
            absurd,
            measurements={
                "latency": Measured(unit="s", runs=((1e300, 1e-320),), statistics={"p50": sick, "p95": sick}),
                "peak_memory": Measured(unit="B", statistics={"max": sick, "imports_only": sick}),
            },
        ),
        make_score(absurd, "sst2", 0.99),
    ]
    charts = charts_of(entries_of(records))
    assert {chart.name for chart in charts} >= {"front1", "spread1", "memory1", "time1"}
    assert not any("absurd" in str(chart.rows) for chart in charts)


def test_heatmaps_mark_what_was_not_run_and_what_is_void(make_facts, make_profile):
    a = make_facts("a")
    records = [
        make_profile(a, batch_size=1, sequence_length=32, median_s=0.001),
        make_profile(a, batch_size=1, sequence_length=128, median_s=0.004),
        make_profile(a, batch_size=8, sequence_length=128, median_s=0.03, noise=Noise(verdict="invalid")),
    ]
    (heatmap,) = heatmaps_of(entries_of(records)).maps
    assert heatmap.lengths == ("32", "128")
    (one, first), (eight, second) = heatmap.rows
    assert (one, eight) == ("1", "8")
    assert [cell.tint for cell in first] == [0.0, 1.0]
    assert [cell.text for cell in second] == ["not run", "void"]
    assert [cell.tint for cell in second] == [None, None]
    assert heatmaps_of(entries_of(records[:1])).maps == ()


DRAWN = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 9 9" onload="x()">'
    '<defs><clipPath id="clip7"><rect x="0" y="0" width="9" height="9"/></clipPath></defs>'
    '<g clip-path="url(#clip7)" class="mark"><path d="M0.123456,7.98765L3,4" fill="red" onclick="x()"/><g/></g>'
    '<script>x()</script><image xlink:href="http://x"/><foreignObject/><text>a &lt;b&gt;</text></svg>'
)


def test_svg_is_rebuilt_from_known_parts():
    made = tidy(DRAWN, name="one", title='a "title" <b>')
    for word in ("script", "image", "foreignObject", "onload", "onclick", "href", "class"):
        assert word not in made
    assert 'id="one-1"' in made
    assert 'clip-path="url(#one-1)"' in made
    assert 'd="M0.1,8L3,4"' in made
    assert "a &lt;b&gt;" in made
    assert 'aria-label="a &quot;title&quot; &lt;b&gt;"' in made


def test_ids_do_not_depend_on_what_was_drawn_before(make_study):
    chart = charts_of(entries_of(make_study(tasks=("sst2",))))[0]
    first, second = (svg_from_spec(chart.spec, name="front1", title="t") for _ in range(2))
    assert first == second
    assert set(re.findall(r' id="([^"]*)"', first)) <= {f"front1-{k}" for k in range(50)}
