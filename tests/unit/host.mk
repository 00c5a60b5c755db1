# SPDX-License-Identifier: LGPL-2.1-or-later
HOST_TESTS = tests/unit/host_loop tests/unit/host_posix tests/unit/host_file
check_PROGRAMS += $(HOST_TESTS)
TESTS += $(HOST_TESTS)

tests_unit_host_loop_SOURCES = tests/unit/host_loop.c
tests_unit_host_loop_LDADD = libhost.a
tests_unit_host_posix_SOURCES = tests/unit/host_posix.c
tests_unit_host_posix_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_file_SOURCES = tests/unit/host_file.c
tests_unit_host_file_LDADD = libhost.a $(HOST_LIBS)
