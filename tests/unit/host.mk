# SPDX-License-Identifier: LGPL-2.1-or-later
check_PROGRAMS += tests/unit/host_loop
tests_unit_host_loop_SOURCES = tests/unit/host_loop.c
tests_unit_host_loop_LDADD = libhost.a

TESTS += tests/unit/host_loop
