"""Only what is proven dead may lose its lease early."""

import subprocess
import sys

from ecm.delivery.incarnation import Incarnation, is_proven_dead


def _of_child(wait: bool) -> str:
    code = (
        "from ecm.delivery.incarnation import Incarnation\n"
        "print(Incarnation.here(), flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    holder = child.stdout.readline().strip()
    assert not is_proven_dead(holder)
    if wait:
        child.kill()
        child.communicate()
    return holder


def test_a_killed_process_is_proven_dead() -> None:
    assert is_proven_dead(_of_child(wait=True))


def test_the_running_process_is_not() -> None:
    assert not is_proven_dead(str(Incarnation.here()))


def test_a_reused_process_id_does_not_keep_the_dead_alive() -> None:
    here = Incarnation.here()
    assert is_proven_dead(str(Incarnation(here.boot, here.pid, here.started - 3600, "x")))


def test_doubt_is_no_proof() -> None:
    here = Incarnation.here()
    elsewhere = Incarnation("another-machine", 1, 0, "x")
    assert not is_proven_dead(str(elsewhere))
    assert not is_proven_dead(str(Incarnation("", here.pid, 0, "x")))
    assert not is_proven_dead("worker-7")
