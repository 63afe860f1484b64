"""Health words, ids, states, errors."""

import uuid

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.health import Health, health_of_age
from txdagu.model.ids import check_run_id, child_run_id, new_run_id
from txdagu.model.status import NodeState, RunState


class HealthTests(SynchronousTestCase):
    def test_words_at_their_edges(self) -> None:
        """The thresholds are those that users were told: 5, 15 and 30 seconds."""
        for age, word in (
            (0, Health.HEALTHY),
            (4.999, Health.HEALTHY),
            (5, Health.WARNING),
            (14.999, Health.WARNING),
            (15, Health.UNHEALTHY),
            (30, Health.UNHEALTHY),
            (30.001, Health.OFFLINE),
        ):
            self.assertIs(health_of_age(age), word, age)


class RunIdTests(SynchronousTestCase):
    def test_child_id_is_the_one_the_reference_program_makes(self) -> None:
        """A child's id decides where both programs look for it; this one was seen on the released binary."""
        self.assertEqual(child_run_id("par-1", "callsub", 'X="5"'), "9rav9V5V779vCYqfRg6HFQmUviPzu9GdewDNeJx2vx9G")

    @given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
    def test_new_ids_are_version_seven(self, now_ms: int, chance: bytes) -> None:
        """Any time and any chance give a valid UUID of version 7 that starts with the time."""
        made = uuid.UUID(new_run_id(now_ms, chance))
        self.assertEqual((made.version, made.variant), (7, uuid.RFC_4122))
        self.assertEqual(made.int >> 80, now_ms)

    def test_sixty_four_characters_are_the_limit(self) -> None:
        """64 are accepted, 65 and foreign characters are refused."""
        self.assertEqual(check_run_id("a" * 64), "a" * 64)
        for bad in ("a" * 65, "", "a b", "a/b", "ä"):
            with self.assertRaises(InvalidInputError):
                check_run_id(bad)


class StateTests(SynchronousTestCase):
    def test_five_means_two_things(self) -> None:
        """A run is queued where a step is skipped."""
        self.assertEqual((RunState(5).label, NodeState(5).label), ("queued", "skipped"))

    def test_titles(self) -> None:
        """Reports print words with capitals."""
        self.assertEqual(RunState.PARTIALLY_SUCCEEDED.title, "Partially Succeeded")


class ProblemTests(SynchronousTestCase):
    def test_one_line_says_where_what_and_what_to_do(self) -> None:
        """A problem reads as one sentence."""
        self.assertEqual(
            str(Problem("unknown key", "a.yaml:3:1", "write steps")), "a.yaml:3:1: unknown key (write steps)"
        )
        self.assertEqual(str(Problem("broken")), "broken")
