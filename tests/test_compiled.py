import numba
import pytest

from ipha_toolkit.compiled import compiled, threads


def add(a, b):
    return a + b


def test_a_function_is_compiled_and_kept():
    assert compiled(nogil=True)(add)(1, 2) == 3


def test_without_a_folder_to_keep_it_in_it_is_compiled_all_the_same(monkeypatch):
    real = numba.njit

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'add': no locator available for file 'a.py'")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)
    assert compiled()(add)(1.5, 2) == pytest.approx(3.5)


def test_a_worker_uses_its_own_share_of_the_cores():
    whole = numba.get_num_threads()
    numba.set_num_threads(1)
    assert threads() == 1
    numba.set_num_threads(whole)
    assert threads() == whole
