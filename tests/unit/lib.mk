# SPDX-License-Identifier: LGPL-2.1-or-later
check_PROGRAMS += tests/unit/lib_ring
TESTS += tests/unit/lib_ring
tests_unit_lib_ring_LDADD = libringclient.la

check_PROGRAMS += tests/unit/lib_app
TESTS += tests/unit/lib_app
tests_unit_lib_app_LDADD = libblktap.la -lpthread
# The name that the library gives to the daemon is that of this program.
tests_unit_lib_app_LDFLAGS = $(AM_LDFLAGS) -no-install
