# SPDX-License-Identifier: LGPL-2.1-or-later
HOST_TESTS = tests/unit/host_loop tests/unit/host_posix tests/unit/host_file \
	tests/unit/host_sim tests/unit/host_sim_file tests/unit/host_sim_store \
	tests/unit/host_local_tap tests/unit/host_xen_tap tests/unit/host_log \
	tests/unit/host_uring
check_PROGRAMS += $(HOST_TESTS)
TESTS += $(HOST_TESTS)

tests_unit_host_loop_SOURCES = tests/unit/host_loop.c
tests_unit_host_loop_LDADD = libhost.a
tests_unit_host_posix_SOURCES = tests/unit/host_posix.c
tests_unit_host_posix_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_file_SOURCES = tests/unit/host_file.c
tests_unit_host_file_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_sim_SOURCES = tests/unit/host_sim.c
tests_unit_host_sim_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_sim_file_SOURCES = tests/unit/host_sim_file.c
tests_unit_host_sim_file_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_sim_store_SOURCES = tests/unit/host_sim_store.c
tests_unit_host_sim_store_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_local_tap_SOURCES = tests/unit/host_local_tap.c
tests_unit_host_local_tap_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_xen_tap_SOURCES = tests/unit/host_xen_tap.c
tests_unit_host_xen_tap_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_log_SOURCES = tests/unit/host_log.c
tests_unit_host_log_LDADD = libhost.a $(HOST_LIBS)
tests_unit_host_uring_SOURCES = tests/unit/host_uring.c
tests_unit_host_uring_LDADD = libhost.a $(HOST_LIBS) -ldl

# A real xenstored without a hypervisor.  The shim goes into a program that
# knows nothing of our sanitizers, so it is built without them.
check_LTLIBRARIES += tests/functional/xenstored_shim.la
tests_functional_xenstored_shim_la_SOURCES = tests/functional/xenstored_shim.c
tests_functional_xenstored_shim_la_CFLAGS = -std=gnu11 $(WARN_CFLAGS)
tests_functional_xenstored_shim_la_LDFLAGS = -module -avoid-version -shared \
	-rpath /nowhere
tests_functional_xenstored_shim_la_LIBADD = -ldl
XENSTORED_SHIM = $(abs_builddir)/tests/functional/.libs/xenstored_shim.so

check_PROGRAMS += tests/functional/host_store
TESTS += tests/functional/host_store
noinst_HEADERS += tests/functional/xenstored.h
tests_functional_host_store_SOURCES = tests/functional/host_store.c
tests_functional_host_store_CPPFLAGS = $(AM_CPPFLAGS) \
	-DXENSTORED_SHIM='"$(XENSTORED_SHIM)"'
tests_functional_host_store_LDADD = libhost.a $(HOST_LIBS)

# The one door: nobody else calls what is behind it.
dist_check_SCRIPTS += tests/lint/door tests/lint/door_finds
TESTS += tests/lint/door tests/lint/door_finds
