"""The figure of what a quorum promises draws what the report says."""

from rvdlib.lab.figures.certificate_plots import certificates


def test_a_line_for_each_number_of_fakes_and_the_share_of_users_by_bad_neighbours():
    bounds = [
        {"m": m, "honest_raters": r, "thr_bound": (m + r) / 10} for m in (1, 3) for r in (0, 2, 5)
    ]
    report = {"dataset": "own", "k": 3, "quorum": 1, "max_in_degree": 4, "n_users": 20}
    figure = certificates(report | {"bounds": bounds, "survives": [20, 5, 0]})
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["1 fakes (5.0%)", "3 fakes (15.0%)"]
    assert left.lines[1].get_xydata().tolist() == [[0, 0.3], [2, 0.5], [5, 0.8]]
    assert right.lines[0].get_ydata().tolist() == [1, 0.25, 0]
    assert "own: 1 of 3 neighbours, nobody in more than 4 vicinities" in figure.get_suptitle()
