# SPDX-License-Identifier: LGPL-2.1-or-later
noinst_HEADERS += tests/sim/history.h
check_PROGRAMS += tests/unit/sim_history
TESTS += tests/unit/sim_history
tests_unit_sim_history_SOURCES = tests/unit/sim_history.c tests/sim/history.c

# Ten bugs, each of which the simulator must find.
TESTS += tests/sim/daemon-bugs
EXTRA_DIST += tests/sim/daemon-bugs
