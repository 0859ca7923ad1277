"""When two questions that find nothing prove that an order was never accepted."""

from __future__ import annotations

from sentinel.host.router.desk import _Proof
from sentinel.units import NS_PER_S


def at(seconds: float) -> int:
    return round(seconds * NS_PER_S)


def test_two_answers_two_seconds_apart_after_the_bound_prove_it() -> None:
    proof = _Proof(at(100))
    for number, (second, proven) in enumerate([(98, False), (100, False), (102, True)], 1):
        assert proof.may_ask(at(second))
        proof.asked(at(second))
        assert not proof.look(number - 1)
        assert proof.look(number) is proven


def test_questions_are_asked_one_at_a_time_and_two_seconds_apart() -> None:
    proof = _Proof(at(100))
    proof.asked(at(100))
    assert not proof.may_ask(at(104.9))
    proof.look(1)
    assert not proof.may_ask(at(101.9))
    assert proof.may_ask(at(102))


def test_a_lost_answer_begins_the_proof_anew() -> None:
    proof = _Proof(at(100))
    proof.asked(at(100))
    assert not proof.look(1)
    proof.asked(at(102))
    assert proof.may_ask(at(107))
    proof.asked(at(107))
    # Whichever question this answers, it is the first that counts.
    assert not proof.look(2)
    proof.asked(at(109))
    assert proof.look(3)
