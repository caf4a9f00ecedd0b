# SPDX-License-Identifier: Apache-2.0
"""libpillion while the daemon's views come and go by reload (test_daemon_views.py)."""

from __future__ import annotations

import struct
from typing import Any

import harness
import libpillion
import pytest
from test_daemon import expected
from test_daemon_views import OTHER, STATS, Served


def test_libpillion_goes_on_when_a_view_is_removed_and_comes_back(folder, store, start_pilliond):
    store.make_release(rows=10, seed=1)
    store.make_release(view="other", rows=10, seed=2)
    path = folder / "mapped.sock"
    listen = f'listen:\n  - {{protocol: mapped, address: "unix:{path}"}}'
    served = Served(folder, store, start_pilliond, [STATS, OTHER], listen)
    daemon = served.daemon
    with libpillion.Client(mapped=f"unix:{path}", resp=daemon.resp_unix) as client:
        stats = client.plan(["rides/driver_stats:f0"])
        other = client.plan(["rides/other:f0"])
        keys = libpillion.GivenKeys([3])

        def first(plan: libpillion.Plan) -> Any:
            got = plan.get(keys)
            return struct.unpack("f", got.values[:4])[0] if got.result == libpillion.OK else got.result

        assert (first(stats), first(other)) == (expected(3, 0, 1), expected(3, 0, 2))
        served.reload([STATS])
        assert first(other) == expected(3, 0, 2)  # what is mapped stays readable, as when the server is gone
        with pytest.raises(libpillion.Error) as raised:
            client.plan(["rides/other:f1"])
        assert raised.value.result == libpillion.NOT_FOUND
        with libpillion.Client(mapped=None, resp=daemon.resp_unix) as socket:
            with pytest.raises(libpillion.Error):
                socket.plan(["rides/other:f0"])
        assert first(stats) == expected(3, 0, 1)
        served.reload([STATS, OTHER])
        release = store.make_release(view="other", rows=10, seed=3)
        daemon.wait_serving(release, "rides/other")
        harness.wait_until("the newest", lambda: first(other) == expected(3, 0, 3))
        assert first(stats) == expected(3, 0, 1)
