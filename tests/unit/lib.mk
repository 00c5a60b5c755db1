# SPDX-License-Identifier: LGPL-2.1-or-later
check_PROGRAMS += tests/unit/lib_ring
TESTS += tests/unit/lib_ring
tests_unit_lib_ring_LDADD = libringclient.la
