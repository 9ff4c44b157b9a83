"""How often a server may be asked."""

from generation_operator.observe.share import Share


def test_the_shortest_of_the_last_eight_answers_sets_the_pace() -> None:
    share = Share(0.25)
    assert share.period == 0.0
    share.took(1.0)
    assert share.period == 4.0
    for _ in range(7):
        share.took(3.0)
    assert share.period == 4.0
    share.took(2.0)  # the first one is forgotten
    assert share.period == 8.0
