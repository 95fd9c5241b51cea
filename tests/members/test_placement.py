"""Who should lead which partition."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bennu.members.placement import placed, ranked

NODES = st.frozensets(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=6)


@given(NODES, st.integers(1, 32))
def test_nobody_leads_more_than_its_share_rounded_up(nodes: frozenset[str], partitions: int) -> None:
    """Work is spread evenly, whatever the names."""
    loads = Counter(placed(dict.fromkeys(range(partitions), nodes)).values())
    assert max(loads.values()) <= -(-partitions // len(nodes))
    assert loads.total() == partitions


@given(NODES, st.integers(0, 31))
def test_who_goes_changes_the_order_of_nobody_else(nodes: frozenset[str], number: int) -> None:
    """The next one in rank takes over, and all others keep their places."""
    order = ranked(number, nodes)
    assert ranked(number, nodes - {order[0]}) == order[1:]


def test_a_partition_that_nobody_may_lead_has_no_place() -> None:
    """The others are placed all the same."""
    assert placed({0: frozenset(), 1: frozenset(("a",))}) == {1: "a"}
