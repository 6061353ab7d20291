"""What votes come to, what becomes of labels, and what people are shown next."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ecm.contracts.evaluation import LabelSource
from ecm.contracts.labelling import Part, Vote
from ecm.evaluation.labels.merging import Base, with_labels, with_votes, with_weak
from ecm.evaluation.labels.standing import State, standings
from tests.label_sets import NOW, asset, label, vote

A, B, C = asset("a"), asset("b"), asset("c")
SETTLE = Part.SETTLE
PEOPLE = ("ann", "bob", "carl")

votes_of_people = st.lists(
    st.builds(
        vote,
        st.sampled_from(["q1", "q2"]),
        st.sampled_from([A, B]),
        st.sampled_from([0, 1, 2, None]),
        st.sampled_from(PEOPLE),
        st.sampled_from([NOW, NOW + 1, NOW + 2]),
        st.sampled_from(list(Part)),
    ),
    max_size=20,
)


def test_the_last_vote_of_a_labeler_counts_and_a_third_person_settles() -> None:
    said = [vote("q", A, 0), vote("q", A, 2, "bob", NOW + 1)]
    assert standings(said)["q", A].state is State.DISPUTED
    assert standings(said)["q", A].label() is None
    by_one_of_them = [*said, vote("q", A, 2, "bob", NOW + 2, SETTLE)]
    assert standings(by_one_of_them)["q", A].state is State.DISPUTED
    settled = standings([*said, vote("q", A, 1, "carl", NOW + 2, SETTLE)])["q", A]
    assert settled.state is State.SETTLED
    assert settled.label() == label("q", A, 1, LabelSource.ADJUDICATED, "carl")
    unsure = standings([*said, vote("q", A, None, "carl", NOW + 2, SETTLE)])["q", A]
    assert (unsure.state, unsure.label()) == (State.UNDECIDABLE, None)
    changed = standings([*said, vote("q", A, 2, "ann", NOW + 3)])["q", A]
    assert changed.state is State.AGREED
    assert changed.label() == label("q", A, 2, LabelSource.ADJUDICATED)


def test_who_cannot_say_has_said_nothing_but_has_been_asked() -> None:
    now = standings([vote("q", A, None), vote("q", A, 1, "bob")])["q", A]
    assert now.state is State.SINGLE
    assert now.label() == label("q", A, 1, LabelSource.HUMAN, "bob")
    assert now.judges() == {"ann", "bob"}
    assert standings([vote("q", A, None)])["q", A].state is State.UNSAID


@settings(max_examples=200, deadline=None)
@given(votes_of_people)
def test_every_label_is_what_somebody_said_last(votes: list[Vote]) -> None:
    ordered = sorted(votes, key=lambda one: one.at)
    for pair, now in standings(ordered).items():
        last = {one.labeler: one for one in ordered if one.pair == pair and one.part is Part.JUDGE}
        assert {one.labeler: one for one in now.judged} == last
        found = now.label()
        said = {one.relevance for one in last.values()} - {None}
        if found is None:
            assert not said or len(said) > 1
        elif found.label_source is LabelSource.HUMAN:
            assert said == {found.relevance}
            assert sum(one.relevance is not None for one in last.values()) == 1
        elif found.labeler is None:
            assert said == {found.relevance}
        else:
            assert found.labeler not in last
            assert len(said) > 1


def base(*labels: object, complete: tuple[str, ...] = ()) -> Base:
    return Base(
        {(one.query_id, one.asset_id): one for one in labels},  # type: ignore[attr-defined]
        frozenset(complete),
    )


def test_people_win_over_weak_labels_and_agreement_over_one_person() -> None:
    there = base(
        label("q", A, 0, LabelSource.WEAK, "clicks-pbm"),
        label("q", B, 0, LabelSource.ADJUDICATED),
        label("q", C, 2, LabelSource.WEAK, "clicks-pbm"),
    )
    said = standings([vote("q", A, 2), vote("q", B, 2), vote("gone", A, 2)])
    merged = with_votes(there, said, (), {"q"})
    assert {(one.asset_id, one.relevance, one.label_source) for one in merged.labels} == {
        (A, 2, LabelSource.HUMAN),
        (B, 0, LabelSource.ADJUDICATED),
        (C, 2, LabelSource.WEAK),
    }
    assert (merged.added, merged.changed, merged.removed) == (0, 1, 0)
    alike = standings([vote("q", B, 2), vote("q", B, 2, "bob")])
    anew = with_votes(there, alike, (), {"q"})
    assert {one.asset_id: one.relevance for one in anew.labels}[B] == 2


def test_what_is_disputed_is_not_judged_unless_it_was_settled_before() -> None:
    there = base(label("q", A, 2, LabelSource.HUMAN, "ann"), label("q", B, 2))
    differ = [vote("q", one, n, who) for one in (A, B) for n, who in ((0, "ann"), (2, "bob"))]
    merged = with_votes(there, standings(differ), (), {"q"})
    assert [one.asset_id for one in merged.labels] == [B]
    assert (merged.removed, merged.disputed) == (1, 2)
    whole = base(label("q", A, 2, LabelSource.HUMAN, "ann"), complete=("q",))
    kept = with_votes(whole, standings(differ), (), {"q"})
    assert [one.asset_id for one in kept.labels] == [A]
    assert kept.complete == ("q",)


def test_votes_on_checks_make_no_label() -> None:
    said = standings([vote("q", A, 0), vote("q", A, 0, "bob")])
    merged = with_votes(base(label("q", A, 2)), said, {("q", A)}, {"q"})
    assert (merged.labels[0].relevance, merged.is_new) == (2, False)


def test_clicks_label_only_what_nobody_has_judged() -> None:
    there = base(
        label("q", A, 0, LabelSource.HUMAN, "ann"),
        label("q", B, 0, LabelSource.WEAK, "captions"),
        complete=("whole",),
    )
    weak = [
        label(q, one, 2, LabelSource.WEAK, "clicks-pbm")
        for q in ("q", "whole")
        for one in (A, B, C)
    ]
    merged = with_weak(there, weak, {"q", "whole"})
    assert {(one.query_id, one.asset_id): one.relevance for one in merged.labels} == {
        ("q", A): 0,
        ("q", B): 2,
        ("q", C): 2,
    }


def test_labels_of_elsewhere_replace_what_is_not_surer() -> None:
    there = base(label("q", A, 0), label("q", B, 0, LabelSource.HUMAN, "ann"))
    told = [label("q", one, 2, LabelSource.HUMAN, "bob") for one in (A, B, C)]
    merged = with_labels(there, told, {"q"})
    assert {one.asset_id: one.relevance for one in merged.labels} == {A: 0, B: 2, C: 2}
