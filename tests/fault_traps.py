"""Which test covers which trap that systems of this kind have fallen into, and which point."""

from __future__ import annotations

from tests.fault_harness import ELSEWHERE

POINTS_TEST = (
    "tests/faults/test_crash_points.py::test_a_process_killed_here_loses_and_doubles_nothing"
)
REBUILD_TEST = "tests/faults/test_traps.py::test_a_rebuild_killed_here_goes_on"
REOPEN_TEST = "tests/faults/test_repair.py::test_a_reopening_killed_here_goes_on"
STORE_TESTS = {
    "bundle.": "tests/faults/test_bundle_killed.py::test_an_export_killed_here_leaves_no_bundle",
    "import.": "tests/faults/test_bundle_killed.py::test_an_import_killed_here_goes_on",
    "relink.": "tests/faults/test_bundle_killed.py::test_a_relink_killed_here_goes_on",
    "maintain.": "tests/faults/test_maintenance_killed.py::test_a_maintenance_killed_here_goes_on",
    "quarantine.": "tests/faults/test_quarantine_killed.py::test_a_quarantine_killed_here_goes_on",
    "repair.": "tests/faults/test_repair.py::test_a_repair_killed_here_goes_on",
    "gc.": "tests/faults/test_collection_killed.py::test_a_collection_killed_here_goes_on",
}
"""By the beginning of the point's name: what is done to a store between runs."""
WALKED = {
    "rollout.": "tests/faults/test_rollout_killed.py::"
    "test_a_rollout_killed_at_every_point_goes_on_and_computes_nothing_twice",
}
"""The same where one test dies at one point after the other."""
_COMMIT = "tests/contract/test_evidence_commit.py::"
_COLLECTION = "tests/contract/test_snapshot_collection.py::"
_BOOKS = "tests/contract/test_ledger_books.py::"
_INDEX = "tests/integration/test_index_job.py::"
_TRAPS = "tests/faults/test_traps.py::"
_STORE = "tests/faults/test_store_traps.py::"

TRAPS: dict[str, tuple[str, ...]] = {
    "a reader reused by a retry": (_COMMIT + "test_a_store_that_comes_back_is_waited_for",),
    "the same transaction replayed": (_COMMIT + "test_appending_again_changes_nothing",),
    "a null key": (
        _STORE + "test_a_null_key_is_refused",
        _STORE + "test_bytes_that_were_never_read_leave_no_row",
    ),
    "a key twice in one batch": (_STORE + "test_the_same_key_twice_in_a_batch_is_one_row",),
    "a BTREE on the key": (_STORE + "test_an_index_on_the_key_does_not_bring_doubles_back",),
    "clean-up before the tokens are absorbed": (
        _COMMIT + "test_a_batch_is_recognised_by_its_rows_when_cleanup_took_its_transaction",
    ),
    "fragments written and never committed": (f"{POINTS_TEST}[sqlite-table.fragments]",),
    "a worker or committer that sleeps past its lease": (
        "tests/faults/test_zombies.py::test_sleepers_wake_up_to_nothing",
        _STORE + "test_what_began_before_a_fence_is_not_committed_after_it",
    ),
    "a host name or process id used again": (
        "tests/unit/test_incarnation.py::test_a_reused_process_id_does_not_keep_the_dead_alive",
    ),
    "clocks that disagree": (_TRAPS + "test_a_wrong_clock_takes_nothing_from_the_living",),
    "an error row marked done": (_INDEX + "test_a_bad_image_is_a_dead_letter_with_its_cause",),
    "a file replaced under the same path": (_INDEX + "test_copies_twins_and_changed_content",),
    "the same content under two paths": (_INDEX + "test_copies_twins_and_changed_content",),
    "another model on the same path": (
        _INDEX + "test_a_new_text_model_reuses_the_stored_captions",
    ),
    "N batches before, K batches after": (
        _TRAPS + "test_every_process_may_cut_its_batches_otherwise",
    ),
    "another number of tasks on resume": (
        _BOOKS + "test_a_new_transform_queues_only_what_is_missing",
    ),
    "an engine that dies in the middle of a batch": ("tests/unit/test_stages_journal.py",),
    "a committer killed between table and ledger": (f"{POINTS_TEST}[sqlite-commit.appended]",),
    "a full disk": ("tests/faults/test_disks.py::test_a_full_disk_is_named_and_nothing_is_lost",),
    "a torn or altered spool file": (
        _TRAPS + "test_a_damaged_spool_file_costs_its_work_and_nothing_else",
    ),
    "a spool that stayed on another machine": (f"{POINTS_TEST}[sqlite-recover.rows_deleted]",),
    "a ledger that is locked": (
        "tests/faults/test_ledger_away.py"
        "::test_a_ledger_locked_for_too_long_is_named_and_nothing_is_lost",
    ),
    "a database server restarted or killed": (
        "tests/faults/test_ledger_away.py"
        "::test_a_server_that_goes_away_and_comes_back_loses_nothing",
    ),
    "a ledger that is lost": (
        _TRAPS + "test_a_ledger_lost_with_its_spool_costs_nothing_that_is_stored",
    ),
    "a snapshot collected while it is published or opened": (
        _COLLECTION + "test_publishing_at_any_moment_of_a_collection_is_served_or_refused",
        _COLLECTION + "test_a_collection_at_any_moment_of_publishing_takes_nothing_from_it",
        _COLLECTION + "test_a_reader_that_comes_at_any_moment_reads_to_its_end_or_is_turned_away",
    ),
    "a collection that sleeps past its right": (
        "tests/faults/test_collection_killed.py"
        "::test_a_collection_that_sleeps_past_its_right_removes_nothing_more",
    ),
    "versions of a shared table cleaned up under a reader": (
        _COLLECTION + "test_a_pin_keeps_what_it_names_until_it_runs_out",
        "tests/integration/test_switching.py"
        "::test_every_snapshot_is_superseded_and_collected_while_clients_ask",
    ),
    "the driver and all of Ray killed": (
        "tests/integration/test_crash.py::test_killed_twice_the_evidence_is_that_of_a_clean_run",
    ),
}


def killed_by(point: str) -> str:
    """The node id of the test that kills a process at a crash point."""
    for kind, test in STORE_TESTS.items():
        if point.startswith(kind):
            return f"{test}[{point}]"
    for kind, test in WALKED.items():
        if point.startswith(kind):
            return test
    if point.startswith("ledger.reopen."):
        test = REOPEN_TEST
    else:
        test = REBUILD_TEST if point in ELSEWHERE else POINTS_TEST
    return f"{test}[sqlite-{point}]"
