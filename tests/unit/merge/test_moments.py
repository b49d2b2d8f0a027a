import torch

from benchkit.merge.alignment import explained, match_heads, procrustes, procrustes_by_head, ridge_solution
from benchkit.merge.moments import Moments


def rows(n: int, width: int, seed: int, *, mean: float = 0.0) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + mean


def moments_of(x: torch.Tensor, y: torch.Tensor) -> Moments:
    moments = Moments()
    for start in range(0, len(x), 37):
        moments.add(x[start : start + 37], y[start : start + 37])
    return moments


def rotation(p: int, q: int, seed: int) -> torch.Tensor:
    square, _ = torch.linalg.qr(rows(q, q, seed))
    return square[:p]


def test_batches_give_the_same_moments_as_one_pass() -> None:
    x, y = rows(200, 5, 0, mean=3.0), rows(200, 7, 1, mean=-2.0)
    moments = moments_of(x, y)
    torch.testing.assert_close(moments.xy(center=False), x.T @ y)
    torch.testing.assert_close(moments.xx(center=True), (x - x.mean(0)).T @ (x - x.mean(0)))
    torch.testing.assert_close(moments.yy(center=False), y.T @ y)
    torch.testing.assert_close(moments.y_energy(center=True), (y - y.mean(0)).square().sum(0))
    torch.testing.assert_close(moments.x_mean, x.mean(0))


def test_an_outlier_channel_in_float32_does_not_cancel_the_digits() -> None:
    x = rows(2000, 4, 0)
    x[:, 2] = x[:, 2] * 1e-2 + 1e3  # Spread 1e-2 around a mean of 1,000, in float32 with 7 digits.
    moments = moments_of(x.float(), x.float())
    exact = x.float().double()
    exact = exact - exact.mean(0)
    torch.testing.assert_close(moments.xx(center=True), exact.T @ exact, rtol=1e-3, atol=1e-3)


def test_a_planted_isometry_is_found_with_and_without_whitening() -> None:
    x = rows(400, 6, 0, mean=1.0) @ torch.diag(torch.tensor([9.0, 4, 2, 1, 0.5, 0.1], dtype=torch.float64))
    planted = rotation(6, 10, 3)
    grams = moments_of(x, 2.5 * x @ planted + 4.0).grams(center=True)
    for whiten in (0.0, 0.4):
        found = procrustes(grams, whiten=whiten, ridge=1e-3)
        torch.testing.assert_close(found.rotation, planted, rtol=0, atol=1e-10)
        assert abs(found.scale - 2.5) < 1e-12
        assert abs(found.r2 - 1) < 1e-12


def test_the_delta_of_a_planted_isometry_is_reproduced() -> None:
    x, delta = rows(300, 6, 0), rows(6, 6, 5)
    planted = rotation(6, 9, 3)
    space = procrustes(moments_of(x, 3 * x @ planted).grams(center=True), whiten=0.4, ridge=1e-3)
    carried = space.out(space.into(delta))
    torch.testing.assert_close(carried, planted.T @ delta @ planted, rtol=0, atol=1e-10)


def test_rotations_stay_inside_matched_heads() -> None:
    x = rows(500, 6, 0)
    first, second = rotation(3, 4, 1), rotation(3, 4, 2)
    y = torch.cat([x[:, 3:] @ second, x[:, :3] @ first], dim=1)  # The heads changed places.
    grams = moments_of(x, y).grams(center=True)
    assert match_heads(grams, 2) == (1, 0)
    found = procrustes_by_head(grams, (1, 0), whiten=0.4, ridge=1e-3).rotation
    torch.testing.assert_close(found[:3, 4:], first, rtol=0, atol=1e-10)
    torch.testing.assert_close(found[3:, :4], second, rtol=0, atol=1e-10)
    assert not found[:3, :4].any()
    assert not found[3:, 4:].any()


def test_ridge_tends_to_least_squares_and_says_how_much_it_explains() -> None:
    x, weights = rows(300, 8, 0), rows(8, 3, 1)
    noise = rows(300, 3, 2)
    y = x @ weights + noise
    gram, cross = x.T @ x, x.T @ y
    solution = ridge_solution(gram, cross, ridge=1e-12)
    torch.testing.assert_close(solution, torch.linalg.lstsq(x, y).solution)
    left = (y - x @ solution).square().sum() / y.square().sum()
    assert abs(explained(gram, cross, y.square().sum(0), solution) - float(1 - left)) < 1e-12
    shrunk = ridge_solution(gram, cross, ridge=10.0)
    assert shrunk.norm() < solution.norm()
