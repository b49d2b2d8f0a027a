from collections.abc import Callable

from benchkit.core.recipes import MergeRecipe, ProjectRecipe, SearchRecipe
from benchkit.merge.search import Tried, best_of, scales_to_try, search


def scripted(score: Callable[[float], float | None]) -> Callable[[float], Tried]:
    return lambda scale: Tried(scale=scale, scores={"accuracy": score(scale)}, head_r2=None, seconds=0.0)


def test_a_grid_whose_edge_is_best_goes_on() -> None:
    tried = search((0.0, 0.5, 1.0), 4.0, scripted(lambda scale: -abs(scale - 2.2)))
    assert [one.scale for one in tried] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert best_of(tried).scale == 2.0


def test_extension_ends_at_its_limit() -> None:
    tried = search((0.0, 1.0, 2.0), 4.0, scripted(lambda scale: scale))
    assert [one.scale for one in tried] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_an_inner_best_is_not_extended() -> None:
    tried = search((0.0, 1.0, 2.0), 9.0, scripted(lambda scale: -abs(scale - 1)))
    assert [one.scale for one in tried] == [0.0, 1.0, 2.0]


def test_ties_go_to_the_smaller_scale_and_stop_extension() -> None:
    tried = search((0.0, 1.0, 2.0), 9.0, scripted(lambda scale: 0.5))
    assert best_of(tried).scale == 0.0
    assert len(tried) == 3


def test_an_undefined_score_is_below_every_other() -> None:
    tried = search((0.0, 1.0), 1.0, scripted(lambda scale: None if scale == 0 else -0.5))
    assert best_of(tried).scale == 1.0


def test_averages_stay_below_one_where_they_would_be_the_donor() -> None:
    none = ProjectRecipe(width="none")
    grid = SearchRecipe(grid=(0.25, 0.5, 1.0, 2.0))
    assert scales_to_try(MergeRecipe(method="linear", project=none, search=grid)) == ((0.0, 0.25, 0.5), 0.5)
    assert scales_to_try(MergeRecipe(search=grid)) == ((0.0, 0.25, 0.5, 1.0, 2.0), 4.0)


def test_a_fixed_scale_is_tried_beside_the_control_only() -> None:
    assert scales_to_try(MergeRecipe(scale=1.5)) == ((0.0, 1.5), 1.5)
