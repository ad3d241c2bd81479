"""Options, the devices under test, hypothesis's profiles, and the record of what ran."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import hypothesis
import pytest

import clconv
from clconv import kernel_source
from clconv.native import executor as native_executor
from clconv.native import table

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.register_profile(  # for what has been tested at length in another way
    "brief", hypothesis.settings.get_profile("repeatable"), max_examples=25
)
hypothesis.settings.register_profile(  # where only the verdict counts, not the smallest failing case
    "mutation", deadline=None, derandomize=True, database=None, phases=[hypothesis.Phase.generate], max_examples=30
)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser):
    parser.addoption(
        "--devices", help="comma-separated devices to test, all that are usable by default; an absent one is an error"
    )
    parser.addoption(
        "--record", type=Path, help="folder for what ran: kernels per device, cases, worst ratio to a bound"
    )
    parser.addoption("--share", help="K/N: every N-th of the tests from the K-th on, for one of N processes")


def tested_devices(config) -> list[str]:
    """Return the names of the devices under test; a name that was asked for and is not usable raises."""
    chosen = config.getoption("--devices")
    if chosen is None:
        return [device.name for device in clconv.devices() if device.problem is None]
    names = chosen.split(",")
    for name in names:
        with clconv.use(name):
            pass
    return names


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    share = config.getoption("--share")
    if share is not None:
        first, step = map(int, share.split("/"))
        others = [item for place, item in enumerate(items) if place % step != first - 1]
        config.hook.pytest_deselected(items=others)
        items[:] = items[first - 1 :: step]


def pytest_configure(config):
    # Exactness and elementwise bounds are what most tests judge, in their threads and child processes, too.
    os.environ["CLCONV_ACCURACY"] = "strict"
    config.tested_devices = tested_devices(config)
    if any("oclgrind" in name for name in config.tested_devices):
        keep_buffers_alive()


def keep_buffers_alive():
    """Let no buffer's identity be used again.

    oclgrind 21.10 gives a new buffer the number of a released one, and then reports memory as uninitialised for which
    the same call, alone in a process, is not reported: its shadow of the first buffer seems to stay.
    """
    import pyopencl

    kept = []

    class KeptBuffer(pyopencl.Buffer):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            kept.append(self)

    pyopencl.Buffer = KeptBuffer


@pytest.fixture(autouse=True)
def accuracy(request):
    """Run a test at the accuracy of its mark, strict without one; return the accuracy."""
    mark = request.node.get_closest_marker("accuracy")
    name = mark.args[0] if mark else "strict"
    with clconv.accuracy(name):
        yield name


def pytest_report_header(config):
    listed = [f"{device.name}: {device.description}, {device.problem or 'usable'}" for device in clconv.devices()]
    return [f"clconv {clconv.__version__} tests {', '.join(config.tested_devices)}", *listed]


def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", metafunc.config.tested_devices, scope="session")


ENTRIES = [
    (file, kernel, defines)
    for file, define_sets in table.DEFINE_SETS.items()
    for kernel in kernel_source.signatures(file)
    for defines in define_sets
]


def entry_text(file, kernel, defines):
    """Return an entry of the table of define sets as the records write it."""
    return f"{file} {kernel} {table.defines_text(defines)}"


def expected_entries(device):
    """Return the entries that must run on a device.

    All of them; on native those that its level is compiled with; under oclgrind, which interprets kernels a thousand
    times slower than they run, of those that differ in the width of vectors only the widest.
    """
    if device == "native":
        return {entry_text(f, k, d) for f, k, d in ENTRIES if d in table.define_sets_at(native_executor.level(), f)}
    widths = (None, 64) if "oclgrind" in device else (None, *table.WIDTHS)
    return {entry_text(f, k, d) for f, k, d in ENTRIES if dict(d).get("VECTOR_BYTES") in widths}


class Record:
    """What ran on each device: launches, property-test cases, and the largest error in units of its bound."""

    def __init__(self):
        self.launches = defaultdict(set)
        self.cases = defaultdict(int)
        self.worst = defaultdict(float)

    def launched(self, device, launch):
        self.launches[device].add(entry_text(launch.file, launch.kernel, launch.defines))

    def add(self, other):
        """Add what ran while ``other`` was the record."""
        for device, launches in other.launches.items():
            self.launches[device] |= launches
        for device, cases in other.cases.items():
            self.cases[device] += cases
        for device, worst in other.worst.items():
            self.worst[device] = max(self.worst[device], worst)

    def write(self, path):
        content = {
            device: {
                "expected": sorted(expected_entries(device)),
                "launches": sorted(self.launches[device]),
                "cases": self.cases[device],
                "worst": self.worst[device],
            }
            for device in {*self.launches, *self.cases, *self.worst}
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1))


RECORD = Record()


@pytest.fixture(scope="session")
def record():
    return RECORD


def pytest_sessionfinish(session):
    folder = session.config.getoption("--record")
    if folder is not None and (RECORD.launches or RECORD.cases):
        worker = getattr(session.config, "workerinput", {}).get("workerid", "main")
        RECORD.write(folder / f"{worker}-{'-'.join(session.config.tested_devices).replace(':', '_')[:80]}.json")
