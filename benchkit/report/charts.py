"""Every chart of a report, in the order of the page; each kind has a module of its own."""

from collections.abc import Sequence

from benchkit.report.chart_facts import Chart
from benchkit.report.chart_front import front_chart
from benchkit.report.chart_latency import distribution_chart, over_time_charts
from benchkit.report.chart_memory import memory_chart
from benchkit.report.chart_response import response_charts
from benchkit.report.chart_roofline import roofline_charts
from benchkit.report.entries import Entry
from benchkit.report.front import groups_of, starred
from benchkit.report.headline import headlines
from benchkit.report.palette import looks_of

_MOST_FRONTS = 12


def charts_of(entries: Sequence[Entry]) -> tuple[Chart, ...]:
    """Return the charts of the headline cells (fronts, spread, memory), of load, of peaks, and of single calls."""
    looks, groups, places = looks_of(entries), groups_of(entries), headlines(entries)
    stars = starred(groups)
    headline_places = {place.entries[0].place for place in places}
    fronts = [group for group in groups if group.place in headline_places]
    made = [front_chart(g, n, looks, name_host=len(places) > 1) for n, g in enumerate(fronts[:_MOST_FRONTS], 1)]
    for number, place in enumerate(places, 1):
        made.append(distribution_chart(place, number, looks, stars))
        made.append(memory_chart(place, number, stars))
    loads, roofs = response_charts(entries), roofline_charts(entries, looks)
    return (*(chart for chart in made if chart is not None), *loads, *roofs, *over_time_charts(places))
